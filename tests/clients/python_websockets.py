"""One conversation through the gateway with Python's `websockets`, a client that nobody here wrote.

Where the gateway is comes from the environment: GATEWAY_WS (ws://…/ws) and GATEWAY_HTTP (http://…).
Exits with 0 when everything was as the contract says, else tells the first difference and exits with 1.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

WS = os.environ["GATEWAY_WS"]
HTTP = os.environ["GATEWAY_HTTP"]
PATIENCE = 10  # seconds for any one answer


def http_login(username, password, device_id, platform):
    """Status and body of a login over HTTP."""
    body = {"username": username, "password": password, "device_id": device_id, "platform": platform}
    request = urllib.request.Request(
        HTTP + "/api/auth/login", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Person:
    """One open connection, and what came on it that nobody has asked for yet."""

    def __init__(self, name, token=None):
        self.name = name
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.socket = connect(WS, additional_headers=headers, open_timeout=PATIENCE)
        self.seq = 0
        self.inbox = []
        welcome = self.wait("the welcome", lambda m: m["cmd_id"] == 2 and m["data"]["event"] == "welcome")
        equal(welcome["code"], 200, "code of the welcome")
        equal(welcome["data"]["authenticated"], token is not None, "welcome.authenticated")

    def receive(self, deadline):
        frame = self.socket.recv(timeout=max(0.0, deadline - time.monotonic()))
        message = json.loads(frame)
        if isinstance(message.get("data"), str):
            message["data"] = json.loads(message["data"]) if message["data"] else {}
        return message

    def wait(self, what, wanted):
        """The first message that is wanted; the others stay for later."""
        deadline = time.monotonic() + PATIENCE
        for at, message in enumerate(self.inbox):
            if wanted(message):
                return self.inbox.pop(at)
        while True:
            try:
                message = self.receive(deadline)
            except TimeoutError:
                fail(f"{self.name}: {what} did not come; came instead: {self.inbox}")
            if wanted(message):
                return message
            self.inbox.append(message)

    def command(self, cmd_id, data, **fields):
        """Sends a command and returns its reply."""
        self.seq += 1
        seq = self.seq
        self.socket.send(json.dumps({"cmd_id": cmd_id, "seq": seq, "data": data, **fields}))
        return self.wait(f"the reply to {cmd_id}", lambda m: m["cmd_id"] == cmd_id and m["seq"] == seq)

    def login(self, password, device_id, platform):
        return self.command(
            1001, {"username": self.name, "password": password}, device_id=device_id, platform=platform
        )

    def send(self, to_user, content):
        reply = self.command(2001, {"to_user": to_user, "content": content})
        equal(reply["code"], 200, f"code of {self.name}'s message to {to_user}")
        return reply["data"]["status"]

    def pushed(self, sender, content):
        """Waits for that chat message and acknowledges it."""
        push = self.wait(f"the push {content!r}", lambda m: m["cmd_id"] == 5001 and m["data"]["content"] == content)
        equal(push["data"]["sender_uid"], sender, "sender_uid of a push")
        equal(push["data"]["conversation_type"], "direct", "conversation_type of a push")
        self.socket.send(json.dumps({"cmd_id": 5006, "data": {"push_id": push["data"]["push_id"]}}))

    def closed(self):
        """Waits for the connection's end; the close code."""
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                self.inbox.append(self.receive(deadline))
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else None
        except TimeoutError:
            fail(f"{self.name}: the connection was not closed")


def fail(told):
    print(f"FAILED: {told}")
    sys.exit(1)


def equal(found, expected, what):
    if found != expected:
        fail(f"{what}: {found!r}, expected {expected!r}")


def main():
    status, body = http_login("alice", "password", "alice-python", "desktop")
    equal(status, 200, "HTTP login")
    alice = Person("alice", body["token"])
    print("ok: login over HTTP, token at the handshake")

    status, body = http_login("alice", "wrong", "alice-python", "desktop")
    equal((status, body["code"]), (401, 401), "HTTP login with a wrong password")

    bob = Person("bob")
    equal(bob.command(2001, {"to_user": "alice", "content": "early"})["code"], 401, "a message before login")
    equal(bob.login("wrong", "bob-python", "android")["code"], 401, "login with a wrong password")
    reply = bob.login("password", "bob-python", "android")
    equal(reply["code"], 200, "login over WebSocket")
    token = reply["data"]["token"]
    print("ok: login over WebSocket, refused before it and with a wrong password")

    equal(alice.send("bob", "hello bob"), "sent", "status of a message to somebody present")
    bob.pushed("alice", "hello bob")
    equal(bob.send("alice", "hello alice"), "sent", "status of the answer")
    alice.pushed("bob", "hello alice")
    print("ok: both send and receive")

    bob.socket.close()
    time.sleep(0.5)
    for content in ("while you were away", "and this"):
        equal(alice.send("bob", content), "offline", "status of a message to somebody away")
    bob = Person("bob")
    reply = bob.command(1002, {"token": token})
    equal((reply["code"], reply["data"]["valid"]), (200, True), "binding by token")
    came = [bob.wait("what came while away", lambda m: m["cmd_id"] == 5001)["data"]["content"] for _ in range(2)]
    equal(came, ["while you were away", "and this"], "what came while away")
    print("ok: what came while away is there at the next login, in order")

    equal(alice.command(9999, {})["code"], 404, "an unknown command")
    equal(alice.command(2001, {"to_user": "bob", "content": "x"}, user_id="bob")["code"], 403, "a spoofed user_id")
    alice.socket.send("{ this is no JSON")
    reply = alice.wait("the error", lambda m: m["cmd_id"] == 0)
    equal((reply["code"], reply["seq"]), (400, 0), "answer to what is no JSON")
    equal(alice.command(1, {})["code"], 200, "heartbeat after the errors")
    print("ok: errors are told and leave the connection open")

    first = Person("carol")
    equal(first.login("password", "browser-1", "web")["code"], 200, "first web login")
    second = Person("carol")
    equal(second.login("password", "browser-2", "web")["code"], 200, "second web login")
    equal(first.closed(), 4410, "close code of the first web login")
    events = [m["data"]["event"] for m in first.inbox if m["cmd_id"] == 2]
    equal("kicked" in events, True, f"a notice before the close (came: {events})")
    equal(second.command(1, {})["code"], 200, "heartbeat of the second web login")
    print("ok: the second web login sends the first away")

    for person in (alice, bob, second):
        person.socket.close()


main()
