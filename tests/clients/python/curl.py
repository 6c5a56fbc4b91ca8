"""curl as client: the HTTP API over one kept connection, and the WebSocket handshake.

Debian's curl speaks no WebSocket, so what follows the handshake is only read: the welcome and the close frame.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading

from conversation import DEADLINE, HTTP, PEER, USER, WS, Difference, equal, hold, token_of

REASON = "curl speaks no WebSocket"
# A close frame of the gateway: FIN and opcode 8, the length, the code.
CLOSE_CODE_AT = 2


class Handshake:
    """A curl that asks for the upgrade and then passes on what comes."""

    def __init__(self, query="", *headers):
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        key = ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        options = [part for header in (*upgrade, *key, *headers) for part in ("--header", header)]
        url = WS.replace("ws", "http", 1) + query
        command = ["curl", "--silent", "--include", "--no-buffer", "--http1.1", "--max-time", str(DEADLINE), *options, url]
        self.curl = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.came = b""
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        # Ends with curl, which has a time limit.
        while data := os.read(self.curl.stdout.fileno(), 1 << 16):
            with self.changed:
                self.came += data
                self.changed.notify()

    def wait(self, wanted):
        with self.changed:
            if not self.changed.wait_for(lambda: wanted in self.came, DEADLINE):
                raise Difference(f"{wanted} did not come; came: {self.came[-1000:]}")
            return self.came

    def check(self):
        head, _, _ = self.wait(b'authenticated\\":true').partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        equal(status.split()[1], "101", "the status")
        # The answer to the key, from RFC 6455, section 1.3.
        fields = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        equal(fields["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Accept")
        return fields

    def end(self):
        self.curl.terminate()
        self.curl.wait(DEADLINE)


class Curl:
    name = "curl"
    cannot = {step: REASON for step in ("login", "messages", "fragmented", "large", "ping", "idle", "resume")}


class Requests:
    """The steps that curl can do."""

    def __init__(self):
        self.token = token_of(USER, "curl-1")

    def handshake(self, *arguments):
        shake = Handshake(*arguments)
        try:
            return shake.check()
        finally:
            shake.end()

    def header(self):
        self.handshake("", f"Authorization: Bearer {self.token}")
        return "the handshake"

    def query(self):
        self.handshake(f"?token={self.token}")
        return "the handshake"

    def subprotocol(self):
        fields = self.handshake("", f"Sec-WebSocket-Protocol: mychat.v1.json, bearer.{self.token}")
        equal(fields["sec-websocket-protocol"], "mychat.v1.json", "the chosen subprotocol")
        return "the handshake"

    def close(self):
        shake = Handshake(f"?token={self.token}")
        try:
            shake.check()
            kick = {"user_id": USER, "device_id": "curl-1", "reason": "seen by the client", "revoke": False}
            key = f"X-API-Key: {os.environ['GATEWAY_ADMIN_KEY']}"
            [(status, reply, _)] = requests(("/api/connections/kick", kick, key))
            equal((status, reply["kicked"]), (200, 1), "the kick")
            came = shake.wait(b"seen by the client")
            frame = came[came.rindex(b"\x88") :]
            equal(int.from_bytes(frame[CLOSE_CODE_AT : CLOSE_CODE_AT + 2], "big"), 4411, "the close code")
            equal(shake.curl.wait(DEADLINE), 0, "curl's exit code at the end of the connection")
        finally:
            shake.end()
        return "4411 with its reason"

    def http(self):
        login = {"username": USER, "password": "password", "device_id": "curl-1", "platform": "desktop"}
        message = {"cmd_id": 2001, "seq": 1, "data": {"to_user": PEER, "content": "by curl"}}
        bearer = f"Authorization: Bearer {self.token}"
        answers = requests(
            ("/api/auth/login", login, "Accept: */*"),
            ("/api/auth/login", {**login, "password": "wrong"}, "Accept: */*"),
            ("/api/message", message, bearer),
            # Long enough for curl to ask by Expect: 100-continue first.
            ("/api/message", {**message, "padding": "x" * 1_000_000}, bearer),
            ("/api/auth/verify", None, bearer),
        )
        equal([status for status, _, _ in answers], [200, 401, 200, 200, 200], "statuses")
        equal(answers[2][1]["data"]["status"] in ("sent", "offline"), True, "status of a message")
        equal(answers[4][1]["valid"], True, "verify")
        equal([opened for _, _, opened in answers], [1, 0, 0, 0, 0], "connections opened for each request")
        return f"{len(answers)} requests on one connection"


def requests(*each):
    """Status, body and number of connections opened of each request; all are given to one curl."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["curl"]
        for number, (path, body, header) in enumerate(each):
            command += ["--next"] if number else []
            command += ["--silent", "--max-time", str(DEADLINE), "--header", header]
            command += ["--write-out", "\\n%{http_code} %{num_connects}\\n"]
            if body is not None:
                file = os.path.join(folder, f"{number}.json")
                with open(file, "w") as written:
                    json.dump(body, written)
                command += ["--header", "Content-Type: application/json", "--data-binary", f"@{file}"]
            command.append(HTTP + path)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE)
    equal(done.returncode, 0, "curl's exit code")
    lines = done.stdout.strip().split("\n")
    counts = [tuple(int(number) for number in line.split()) for line in lines[1::2]]
    return [(status, json.loads(body), opened) for body, (status, opened) in zip(lines[0::2], counts)]


STEPS = ("header", "query", "subprotocol", *Curl.cannot, "close", "http")

sys.exit(hold(Requests(), STEPS, Curl.cannot))
