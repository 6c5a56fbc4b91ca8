"""Python's WebSocket clients, each behind the same few methods: `client.py LIBRARY` holds the conversation with one."""

import asyncio
import queue
import sys
import threading
import traceback

from conversation import DEADLINE, STEPS, WS, Conversation, Difference, end, equal, hold

# The libraries' own limits where they are lower than what a push can have.
LARGEST = 4 << 20


class Connection:
    """A connection whose events (`("message", text)`, `("pong", payload)`, `("closed", code, reason)`) are queued."""

    cannot = {}
    protocol = None

    def __init__(self, url, headers, protocols):
        self.events = queue.Queue()
        self.open(url, headers, protocols)

    def next_event(self, timeout):
        return self.events.get(timeout=timeout)

    def ping(self, payload):
        self.send_ping(payload)
        equal(self.next_event(DEADLINE), ("pong", payload), "the answer to a ping")


class Websockets(Connection):
    name = "websockets"

    def open(self, url, headers, protocols):
        from websockets.sync.client import connect

        self.socket = connect(
            url, additional_headers=headers, subprotocols=protocols or None, max_size=LARGEST, open_timeout=DEADLINE
        )
        self.protocol = self.socket.subprotocol
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.events.put(("message", self.socket.recv()))
        except ConnectionClosed:
            self.events.put(("closed", self.socket.close_code, self.socket.close_reason))

    def send(self, text):
        self.socket.send(text)

    def send_fragments(self, parts):
        self.socket.send(iter(parts))

    def ping(self, payload):
        if not self.socket.ping(payload).wait(DEADLINE):
            raise Difference("no answer to a ping")

    def close(self):
        self.socket.close()


class WebsocketClient(Connection):
    name = "websocket-client"

    def open(self, url, headers, protocols):
        import websocket

        self.library = websocket
        self.socket = websocket.WebSocket(enable_multithread=True)
        self.socket.connect(url, header=headers, subprotocols=protocols, timeout=DEADLINE)
        self.protocol = self.socket.getsubprotocol()
        self.socket.settimeout(None)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        code, reason = None, None
        while True:
            try:
                opcode, frame = self.socket.recv_data_frame(control_frame=True)
            except (self.library.WebSocketException, OSError):
                break
            if opcode == self.library.ABNF.OPCODE_TEXT:
                self.events.put(("message", frame.data.decode()))
            elif opcode == self.library.ABNF.OPCODE_PONG:
                self.events.put(("pong", frame.data))
            elif opcode == self.library.ABNF.OPCODE_CLOSE:
                code, reason = int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()
                break
        self.events.put(("closed", code, reason))

    def send(self, text):
        self.socket.send(text)

    def send_fragments(self, parts):
        abnf = self.library.ABNF
        for number, part in enumerate(parts):
            opcode = abnf.OPCODE_CONT if number else abnf.OPCODE_TEXT
            self.socket.send_frame(abnf.create_frame(part, opcode, fin=int(number == len(parts) - 1)))

    def send_ping(self, payload):
        self.socket.ping(payload)

    def close(self):
        # Its close() would wait for the answer that the reading thread takes.
        self.socket.send_close()


class Looped(Connection):
    """A connection of an asyncio library; its loop runs on a thread of its own."""

    loop = None

    def run(self, awaitable):
        if Looped.loop is None:
            Looped.loop = asyncio.new_event_loop()
            threading.Thread(target=Looped.loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(awaitable, Looped.loop).result(DEADLINE)

    async def spawn(self, reading):
        # Kept, because a loop alone does not keep its tasks alive.
        self.task = asyncio.ensure_future(reading)


class Aiohttp(Looped):
    name = "aiohttp"
    cannot = {"fragmented": "the library sends whole messages only"}

    def open(self, url, headers, protocols):
        self.run(self.connect(url, headers, protocols))

    async def connect(self, url, headers, protocols):
        import aiohttp

        self.library = aiohttp
        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=LARGEST)
        self.protocol = self.socket.protocol
        await self.spawn(self.read())

    async def read(self):
        reason = None
        while True:
            message = await self.socket.receive()
            if message.type is self.library.WSMsgType.TEXT:
                self.events.put(("message", message.data))
                continue
            if message.type is self.library.WSMsgType.CLOSE:
                reason = message.extra
            await self.session.close()
            self.events.put(("closed", self.socket.close_code, reason))
            return

    def send(self, text):
        self.run(self.socket.send_str(text))

    def ping(self, payload):
        self.run(self.ping_without_autoping(payload))

    async def ping_without_autoping(self, payload):
        # With `autoping`, which answers the gateway's pings, the library keeps pongs to itself. No token is needed.
        async with self.session.ws_connect(WS, autoping=False) as socket:
            await socket.receive()
            await socket.ping(payload)
            pong = await socket.receive()
            while pong.type is self.library.WSMsgType.PING:
                pong = await socket.receive()
            equal((pong.type, bytes(pong.data)), (self.library.WSMsgType.PONG, payload), "the answer to a ping")

    def close(self):
        self.run(self.socket.close())


class Tornado(Looped):
    name = "tornado"
    cannot = {"fragmented": "the library sends whole messages only"}

    def open(self, url, headers, protocols):
        self.run(self.connect(url, headers, protocols))

    async def connect(self, url, headers, protocols):
        from tornado.httpclient import HTTPRequest
        from tornado.websocket import websocket_connect

        request = HTTPRequest(url, headers=headers, connect_timeout=DEADLINE)
        self.socket = await websocket_connect(request, subprotocols=protocols or None, max_message_size=LARGEST)
        self.socket.on_pong = lambda payload: self.events.put(("pong", payload))
        self.protocol = self.socket.selected_subprotocol
        await self.spawn(self.read())

    async def read(self):
        while (message := await self.socket.read_message()) is not None:
            self.events.put(("message", message))
        self.events.put(("closed", self.socket.close_code, self.socket.close_reason))

    async def on_loop(self, call, *arguments):
        result = call(*arguments)
        if result is not None:
            await result

    def send(self, text):
        self.run(self.on_loop(self.socket.write_message, text))

    def send_ping(self, payload):
        self.run(self.on_loop(self.socket.ping, payload))

    def close(self):
        self.run(self.on_loop(self.socket.close, 1000))


class Autobahn(Looped):
    name = "autobahn"

    def open(self, url, headers, protocols):
        self.run(self.connect(url, headers, protocols))

    async def connect(self, url, headers, protocols):
        from urllib.parse import urlsplit

        from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

        events, opened = self.events, asyncio.get_running_loop().create_future()

        class Protocol(WebSocketClientProtocol):
            def onOpen(self):
                opened.set_result(self)

            def onMessage(self, payload, isBinary):
                events.put(("message", payload.decode()))

            def onPong(self, payload):
                events.put(("pong", payload))

            def onClose(self, wasClean, code, reason):
                if not opened.done():
                    opened.set_exception(Difference(f"not opened: {code} {reason}"))
                events.put(("closed", code, reason))

        factory = WebSocketClientFactory(url, headers=headers, protocols=protocols)
        factory.protocol = Protocol
        address = urlsplit(url)
        await asyncio.get_running_loop().create_connection(factory, address.hostname, address.port)
        self.socket = await asyncio.wait_for(opened, DEADLINE)
        self.protocol = self.socket.websocket_protocol_in_use

    async def on_loop(self, call, *arguments, **named):
        call(*arguments, **named)

    def send(self, text):
        self.run(self.on_loop(self.socket.sendMessage, text.encode()))

    def send_fragments(self, parts):
        text = "".join(parts).encode()
        self.run(self.on_loop(self.socket.sendMessage, text, fragmentSize=len(text) // 3))

    def send_ping(self, payload):
        self.run(self.on_loop(self.socket.sendPing, payload))

    def close(self):
        self.run(self.on_loop(self.socket.sendClose, 1000))


class Qt(Connection):
    name = "qt"
    # One event loop serves every connection; it runs while somebody waits for an event.
    application = None
    loop = None

    def open(self, url, headers, protocols):
        from PyQt6.QtCore import QCoreApplication, QEventLoop, QUrl
        from PyQt6.QtNetwork import QNetworkRequest
        from PyQt6.QtWebSockets import QWebSocket, QWebSocketHandshakeOptions

        Qt.application = Qt.application or QCoreApplication([])
        Qt.loop = Qt.loop or QEventLoop()
        request = QNetworkRequest(QUrl(url))
        for name, value in headers.items():
            request.setRawHeader(name.encode(), value.encode())
        options = QWebSocketHandshakeOptions()
        options.setSubprotocols(protocols)
        self.socket = QWebSocket()
        self.socket.textMessageReceived.connect(lambda text: self.came("message", text))
        self.socket.pong.connect(lambda _, payload: self.came("pong", payload.data()))
        self.socket.disconnected.connect(self.disconnected)
        self.socket.connected.connect(lambda: self.came("opened"))
        self.socket.errorOccurred.connect(lambda _: self.came("failed", self.socket.errorString()))
        self.socket.open(request, options)
        equal(self.next_event(DEADLINE), ("opened",), "the opening")
        self.protocol = self.socket.subprotocol()

    def came(self, *event):
        self.events.put(event)
        Qt.loop.quit()

    def disconnected(self):
        code = self.socket.closeCode()
        self.came("closed", getattr(code, "value", code), self.socket.closeReason())

    def next_event(self, timeout):
        from PyQt6.QtCore import QTimer

        if self.events.empty():
            timer = QTimer()
            expired = []
            timer.timeout.connect(lambda: (expired.append(True), Qt.loop.quit()))
            timer.start(int(timeout * 1000))
            while self.events.empty() and not expired:
                Qt.loop.exec()
        return self.events.get_nowait()

    def send(self, text):
        self.socket.sendTextMessage(text)

    def send_fragments(self, parts):
        whole = self.socket.outgoingFrameSize()
        self.socket.setOutgoingFrameSize(1000)
        self.socket.sendTextMessage("".join(parts))
        self.socket.setOutgoingFrameSize(whole)

    def send_ping(self, payload):
        self.socket.ping(payload)

    def close(self):
        self.socket.close()


LIBRARIES = {library.name: library for library in (Websockets, WebsocketClient, Aiohttp, Tornado, Autobahn, Qt)}


def main():
    library = LIBRARIES[sys.argv[1]]
    try:
        return hold(Conversation(library), STEPS, library.cannot)
    except Exception:
        # What a library raises is a failure of the step that was running.
        print("FAILED", traceback.format_exc(), flush=True)
        return 1


end(main())
