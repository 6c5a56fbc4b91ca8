// One conversation through the gateway with Node's `ws`, a client that nobody here wrote.
//
// From the environment: GATEWAY_WS (ws://…/ws), GATEWAY_HTTP (http://…), and CLIENT_MODULES, the folder whose
// node_modules has ws. Exits with 0 when everything was as the contract says, else tells the first difference
// and exits with 1. Needs Node.js 18 or later, for fetch.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { GATEWAY_WS, GATEWAY_HTTP, CLIENT_MODULES } = process.env;
const WebSocket = createRequire(join(CLIENT_MODULES, "package.json"))("ws");
const PATIENCE = 10_000; // milliseconds for any one answer

/** Status and body of a login over HTTP. */
async function httpLogin(username, password, device_id, platform) {
  const response = await fetch(`${GATEWAY_HTTP}/api/auth/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password, device_id, platform }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  return { status: response.status, body: await response.json() };
}

/** One open connection, and what came on it that nobody has asked for yet. */
class Person {
  seq = 0;
  inbox = [];
  waiting = [];

  static async arrive(name, { token, protocols = [] } = {}) {
    const person = new Person();
    person.name = name;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    person.socket = new WebSocket(GATEWAY_WS, protocols, { headers, handshakeTimeout: PATIENCE });
    person.closed = new Promise((resolve) => person.socket.on("close", (code) => resolve(code)));
    person.socket.on("message", (frame, isBinary) => person.take(frame, isBinary));
    await once(person.socket, "open");
    const welcome = await person.wait("the welcome", (m) => m.cmd_id === 2 && m.data.event === "welcome");
    assert.equal(welcome.code, 200);
    assert.equal(welcome.data.authenticated, token !== undefined, "welcome.authenticated");
    return person;
  }

  take(frame, isBinary) {
    assert.equal(isBinary, false, "JSON comes in text frames");
    const message = JSON.parse(frame.toString());
    if (typeof message.data === "string") message.data = message.data ? JSON.parse(message.data) : {};
    const at = this.waiting.findIndex(({ wanted }) => wanted(message));
    if (at < 0) this.inbox.push(message);
    else this.waiting.splice(at, 1)[0].resolve(message);
  }

  /** The first message that is wanted; the others stay for later. */
  wait(what, wanted) {
    const at = this.inbox.findIndex(wanted);
    if (at >= 0) return Promise.resolve(this.inbox.splice(at, 1)[0]);
    return new Promise((resolve, reject) => {
      const told = () => new Error(`${this.name}: ${what} did not come; came: ${JSON.stringify(this.inbox)}`);
      const timer = setTimeout(() => reject(told()), PATIENCE);
      this.waiting.push({ wanted, resolve: (message) => (clearTimeout(timer), resolve(message)) });
    });
  }

  /** Sends a command and returns its reply. */
  command(cmd_id, data, fields = {}) {
    const seq = ++this.seq;
    this.socket.send(JSON.stringify({ cmd_id, seq, data, ...fields }));
    return this.wait(`the reply to ${cmd_id}`, (m) => m.cmd_id === cmd_id && m.seq === seq);
  }

  login(password, device_id, platform) {
    return this.command(1001, { username: this.name, password }, { device_id, platform });
  }

  async send(to_user, content) {
    // The data as a JSON string here, as an object elsewhere: both are allowed.
    const reply = await this.command(2001, JSON.stringify({ to_user, content }));
    assert.equal(reply.code, 200, `${this.name}'s message to ${to_user}`);
    return reply.data.status;
  }

  /** Waits for that chat message and acknowledges it. */
  async pushed(sender, content) {
    const push = await this.wait(`the push ${content}`, (m) => m.cmd_id === 5001 && m.data.content === content);
    assert.equal(push.data.sender_uid, sender);
    assert.equal(push.data.conversation_type, "direct");
    this.socket.send(JSON.stringify({ cmd_id: 5006, data: { push_id: push.data.push_id } }));
  }
}

async function main() {
  let login = await httpLogin("alice", "password", "alice-node", "desktop");
  assert.equal(login.status, 200, "HTTP login");
  const alice = await Person.arrive("alice", { token: login.body.token });
  console.log("ok: login over HTTP, token at the handshake");

  login = await httpLogin("alice", "wrong", "alice-node", "desktop");
  assert.deepEqual([login.status, login.body.code], [401, 401], "HTTP login with a wrong password");

  let bob = await Person.arrive("bob", { protocols: ["mychat.v1.json"] });
  assert.equal(bob.socket.protocol, "mychat.v1.json");
  const early = await bob.command(2001, { to_user: "alice", content: "early" });
  assert.equal(early.code, 401, "a message before login");
  assert.equal((await bob.login("wrong", "bob-node", "ios")).code, 401, "login with a wrong password");
  const reply = await bob.login("password", "bob-node", "ios");
  assert.equal(reply.code, 200, "login over WebSocket");
  const token = reply.data.token;
  console.log("ok: login over WebSocket, refused before it and with a wrong password");

  assert.equal(await alice.send("bob", "hello bob"), "sent");
  await bob.pushed("alice", "hello bob");
  assert.equal(await bob.send("alice", "hello alice"), "sent");
  await alice.pushed("bob", "hello alice");
  console.log("ok: both send and receive");

  bob.socket.close(1000);
  assert.equal(await bob.closed, 1000, "close code that comes back");
  await sleep(500);
  for (const content of ["while you were away", "and this"]) {
    assert.equal(await alice.send("bob", content), "offline");
  }
  bob = await Person.arrive("bob");
  const bound = await bob.command(1002, { token });
  assert.deepEqual([bound.code, bound.data.valid], [200, true], "binding by token");
  await bob.pushed("alice", "while you were away");
  await bob.pushed("alice", "and this");
  console.log("ok: what came while away is there at the next login");

  assert.equal((await alice.command(9999, {})).code, 404, "an unknown command");
  const spoofed = await alice.command(2001, { to_user: "bob", content: "x" }, { user_id: "bob" });
  assert.equal(spoofed.code, 403, "a spoofed user_id");
  alice.socket.send("{ this is no JSON");
  const error = await alice.wait("the error", (m) => m.cmd_id === 0);
  assert.deepEqual([error.code, error.seq], [400, 0], "answer to what is no JSON");
  assert.equal((await alice.command(1, {})).code, 200, "heartbeat after the errors");
  console.log("ok: errors are told and leave the connection open");

  const first = await Person.arrive("carol");
  assert.equal((await first.login("password", "browser-1", "web")).code, 200, "first web login");
  const second = await Person.arrive("carol");
  assert.equal((await second.login("password", "browser-2", "web")).code, 200, "second web login");
  await first.wait("the notice", (m) => m.cmd_id === 2 && m.data.event === "kicked");
  const late = sleep(PATIENCE, "not closed", { ref: false });
  assert.equal(await Promise.race([first.closed, late]), 4410, "close code of the first web login");
  assert.equal((await second.command(1, {})).code, 200, "heartbeat of the second web login");
  console.log("ok: the second web login sends the first away");

  for (const person of [alice, bob, second]) person.socket.close(1000);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error("FAILED:", error);
    process.exit(1);
  },
);
