"""The conversation that every client library has with the gateway, and the report of it.

The drivers in the other languages hold the same conversation under the same step names. Where the gateway is comes
from the environment: GATEWAY_WS (ws://…/ws), GATEWAY_HTTP (http://…), GATEWAY_ADMIN_KEY, GATEWAY_SERVICE_KEY, and
CLIENT_USER and CLIENT_PEER, two accounts that no other client uses at the same time.

Output is one line a step, `ok STEP [detail]` or `skip STEP reason`; at the first difference a line `FAILED …` and
exit code 1.
"""

import json
import os
import queue
import sys
import time
import urllib.error
import urllib.request

WS = os.environ["GATEWAY_WS"]
HTTP = os.environ["GATEWAY_HTTP"]
USER = os.environ["CLIENT_USER"]
PEER = os.environ["CLIENT_PEER"]
# Seconds for any one answer.
DEADLINE = 15
MESSAGES = 1000
# Messages sent before their replies are read. The gateway works on 256 of one session at a time.
BATCH = 100
MIB = 1 << 20
# Longer than 2.5 of the test's ping intervals of 2 s: a client that answers no ping is closed by then.
QUIET = 6


class Difference(Exception):
    """The gateway or the library did something else than the protocol says."""


def equal(found, expected, what):
    if found != expected:
        raise Difference(f"{what}: {str(found)[:500]!r}, expected {expected!r}")


def http(method, path, body=None, **headers):
    """Status and JSON body of one request."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(HTTP + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def token_of(user, device):
    """An access token by HTTP login."""
    body = {"username": user, "password": "password", "device_id": device, "platform": "desktop"}
    status, reply = http("POST", "/api/auth/login", body)
    equal(status, 200, f"status of {user}'s login")
    return reply["access_token"]


def message_of_size(to_user, seq, size):
    """A chat message whose JSON has exactly `size` bytes; the padding is a field that no service knows."""
    message = {"cmd_id": 2001, "seq": seq, "data": {"to_user": to_user, "content": "large", "padding": ""}}
    message["data"]["padding"] = "x" * (size - len(json.dumps(message)))
    return json.dumps(message)


class Person:
    """One open connection, with the messages that came on it and that nobody has asked for yet."""

    def __init__(self, library, url, headers=(), protocols=()):
        self.connection = library(url, dict(headers), list(protocols))
        self.seq = 0
        self.inbox = []
        self.last_push_id = None
        welcome = self.wait("the welcome", lambda m: m["cmd_id"] == 2 and m["data"]["event"] == "welcome")
        self.authenticated = welcome["data"]["authenticated"]

    def wait(self, what, wanted):
        """The first message that is wanted; the others stay for later."""
        for at, message in enumerate(self.inbox):
            if wanted(message):
                return self.inbox.pop(at)
        deadline = time.monotonic() + DEADLINE
        while True:
            message = self.receive(what, deadline)
            if message and wanted(message):
                return message
            if message:
                self.inbox.append(message)

    def receive(self, what, deadline):
        """The next message, its push acknowledged; None for an event that is no message."""
        try:
            event = self.connection.next_event(max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Difference(f"{what} did not come; came: {str(self.inbox[:5])[:500]}") from None
        if event[0] == "closed":
            raise Difference(f"closed with {event[1:]} while {what} was awaited")
        if event[0] != "message":
            return None
        message = json.loads(event[1])
        if isinstance(message.get("data"), str):
            message["data"] = json.loads(message["data"] or "{}")
        if message["cmd_id"] == 5001:
            self.last_push_id = message["data"]["push_id"]
            self.connection.send(json.dumps({"cmd_id": 5006, "data": {"push_id": self.last_push_id}}))
        return message

    def post(self, cmd_id, data, **fields):
        """Sends a command; the `seq` of its reply."""
        self.seq += 1
        self.connection.send(json.dumps({"cmd_id": cmd_id, "seq": self.seq, "data": data, **fields}))
        return self.seq

    def reply(self, seq):
        return self.wait(f"the reply to {seq}", lambda m: m["cmd_id"] not in (2, 5001) and m["seq"] == seq)

    def command(self, cmd_id, data, **fields):
        return self.reply(self.post(cmd_id, data, **fields))

    def push(self):
        """The content of the next push."""
        return self.wait("a push", lambda m: m["cmd_id"] == 5001)["data"]["content"]

    def closed(self):
        """Waits for the connection's end: close code and reason."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                event = self.connection.next_event(max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Difference("the connection was not closed") from None
            if event[0] == "closed":
                return event[1:]

    def close(self):
        """Closes in order; what came in the meantime is passed over."""
        self.connection.close()
        self.closed()


class Conversation:
    """The steps, in the order of running."""

    def __init__(self, library):
        self.library = library
        self.device = f"{library.name}-1"
        self.token = token_of(USER, self.device)
        self.peer = None
        self.person = None

    def header(self):
        person = Person(self.library, WS, headers={"Authorization": f"Bearer {self.token}"})
        equal(person.authenticated, True, "authenticated by the header")
        person.close()

    def query(self):
        person = Person(self.library, f"{WS}?token={self.token}")
        equal(person.authenticated, True, "authenticated by the query")
        person.close()

    def subprotocol(self):
        person = Person(self.library, WS, protocols=["mychat.v1.json", f"bearer.{self.token}"])
        equal(person.authenticated, True, "authenticated by the subprotocol")
        equal(person.connection.protocol, "mychat.v1.json", "the chosen subprotocol")
        person.close()

    def login(self):
        person = Person(self.library, WS)
        equal(person.authenticated, False, "authenticated without a token")
        equal(person.command(2001, {"to_user": PEER, "content": "early"})["code"], 401, "a message before login")
        device = {"device_id": self.device, "platform": "desktop"}
        login = {"username": USER, "password": "wrong"}
        equal(person.command(1001, login, **device)["code"], 401, "login with a wrong password")
        login["password"] = "password"
        equal(person.command(1001, login, **device)["code"], 200, "login")
        equal(person.command(9999, {})["code"], 404, "an unknown command")
        person.connection.send("{ this is no JSON")
        error = person.wait("the error", lambda m: m["cmd_id"] == 0)
        equal((error["code"], error["seq"]), (400, 0), "answer to text that is no JSON")
        equal(person.command(3001, {})["code"], 200, "heartbeat after the errors")
        person.close()

    def messages(self):
        # Of the three ways, the query is open to every library.
        self.peer = Person(self.library, f"{WS}?ack=1&token={token_of(PEER, self.library.name + '-2')}")
        self.person = Person(self.library, f"{WS}?ack=1&token={self.token}")
        for sender, receiver, name in ((self.person, self.peer, PEER), (self.peer, self.person, USER)):
            for batch in range(0, MESSAGES, BATCH):
                texts = [f"message {number}" for number in range(batch, batch + BATCH)]
                replies = [sender.post(2001, {"to_user": name, "content": text}) for text in texts]
                equal({sender.reply(seq)["code"] for seq in replies}, {200}, "codes of the replies")
                equal([receiver.push() for _ in texts], texts, "pushes in the order of sending")
        return f"{MESSAGES} each way, each with its reply and its push"

    def fragmented(self):
        self.person.seq += 1
        text = json.dumps({"cmd_id": 2001, "seq": self.person.seq, "data": {"to_user": PEER, "content": "in parts " * 500}})
        self.person.connection.send_fragments([text[:1], text[1:1000], text[1000:]])
        equal(self.person.reply(self.person.seq)["code"], 200, "reply to a fragmented message")
        equal(self.peer.push(), "in parts " * 500, "the push of a fragmented message")

    def large(self):
        self.person.seq += 1
        self.person.connection.send(message_of_size(PEER, self.person.seq, MIB))
        equal(self.person.reply(self.person.seq)["code"], 200, "reply to a message of 1 MiB")
        equal(self.peer.push(), "large", "the push of a message of 1 MiB")
        content = "y" * 1_000_000
        status, _ = http(
            "POST", "/api/push", {"user_id": USER, "content": content}, X_API_Key=os.environ["GATEWAY_SERVICE_KEY"]
        )
        equal(status, 200, "status of a large push")
        equal(self.person.push(), content, "the content of a large push")
        return "sent 1 MiB, received 1 MB"

    def ping(self):
        self.person.connection.ping(b"are you there")

    def idle(self):
        deadline = time.monotonic() + QUIET
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self.person.connection.next_event(left)
            except queue.Empty:
                break
            if event[0] != "pong":
                raise Difference(f"came while nothing was sent: {event}")
        equal(self.person.command(3001, {})["code"], 200, "heartbeat after a time without messages")
        return f"{QUIET} s, answering pings"

    def resume(self):
        last = self.person.last_push_id
        self.person.close()
        texts = [f"missed {number}" for number in range(3)]
        for text in texts:
            body = {"cmd_id": 2001, "seq": 1, "data": {"to_user": USER, "content": text}}
            status, _ = http("POST", "/api/message", body, Authorization=f"Bearer {token_of(PEER, 'elsewhere')}")
            equal(status, 200, "a message by HTTP")
        self.person = Person(self.library, f"{WS}?ack=1&last_push_id={last}&token={self.token}")
        equal([self.person.push() for _ in texts], texts, "pushes missed")
        equal(self.person.command(3001, {})["code"], 200, "heartbeat after the resume")
        extra = [message for message in self.person.inbox if message["cmd_id"] == 5001]
        equal(extra, [], "pushes that came twice")

    def close(self):
        body = {"user_id": USER, "device_id": self.device, "reason": "seen by the client", "revoke": False}
        status, reply = http("POST", "/api/connections/kick", body, X_API_Key=os.environ["GATEWAY_ADMIN_KEY"])
        equal((status, reply["kicked"]), (200, 1), "the kick")
        code, reason = self.person.closed()
        equal(code, 4411, "the close code")
        if "seen by the client" not in (reason or ""):
            raise Difference(f"the close reason is {reason!r}")
        self.peer.close()
        return "4411 with its reason"


STEPS = (
    "header",
    "query",
    "subprotocol",
    "login",
    "messages",
    "fragmented",
    "large",
    "ping",
    "idle",
    "resume",
    "close",
)


def hold(conversation, steps, cannot):
    """Runs the steps of `conversation`, passing over those that the library cannot do; the exit code."""
    for step in steps:
        if step in cannot:
            print(f"skip {step} {cannot[step]}", flush=True)
            continue
        try:
            detail = getattr(conversation, step)()
        except Difference as difference:
            print(f"FAILED {step}: {difference}", flush=True)
            return 1
        print(f"ok {step}" + (f" {detail}" if detail else ""), flush=True)
    return 0


def end(code):
    """Ends the process without waiting for a library's threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
