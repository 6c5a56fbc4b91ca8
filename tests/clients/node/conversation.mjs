// The conversation of ../python/conversation.py, for Node.js and browsers: the same steps under the same names.
//
// What differs between them is given from outside: the library, `environment` (where the gateway is and which accounts to
// use) and `report`, which takes the lines.

const DEADLINE = 15_000; // milliseconds for any one answer
const MESSAGES = 1000;
// Messages sent before their replies are read. The gateway works on 256 of one session at a time.
const BATCH = 100;
const MIB = 1 << 20;
// Longer than 2.5 of the test's ping intervals of 2 s: a client that answers no ping is closed by then.
const QUIET = 6_000;

export const STEPS = [
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
];

export function equal(found, expected, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${String(a).slice(0, 500)}, expected ${String(b).slice(0, 500)}`);
}

/** A promise, or a rejection that says what did not come in time. */
export function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** One open connection, and the messages that came on it that nobody has asked for yet. */
class Person {
  seq = 0;
  inbox = [];
  waiting = [];
  lastPushId = null;

  /** Opens a connection by the library: `open(url, headers, protocols, handlers)` returns, or promises, a socket with `send` and `close`. */
  static async arrive(library, url, { headers = {}, protocols = [] } = {}) {
    const person = new Person();
    let closed;
    person.closed = new Promise((resolve) => (closed = resolve));
    const handlers = {
      message: (text) => person.take(text),
      closed: (code, reason) => closed({ code, reason }),
    };
    person.socket = await within(library.open(url, headers, protocols, handlers), "the opening");
    const welcome = await person.wait("the welcome", (m) => m.cmd_id === 2 && m.data.event === "welcome");
    person.authenticated = welcome.data.authenticated;
    return person;
  }

  take(text) {
    const message = JSON.parse(text);
    if (typeof message.data === "string") message.data = JSON.parse(message.data || "{}");
    if (message.cmd_id === 5001) {
      this.lastPushId = message.data.push_id;
      this.socket.send(JSON.stringify({ cmd_id: 5006, data: { push_id: this.lastPushId } }));
    }
    const at = this.waiting.findIndex(({ wanted }) => wanted(message));
    if (at < 0) this.inbox.push(message);
    else this.waiting.splice(at, 1)[0].resolve(message);
  }

  /** The first message that is wanted; the others stay for later. */
  wait(what, wanted) {
    const at = this.inbox.findIndex(wanted);
    if (at >= 0) return Promise.resolve(this.inbox.splice(at, 1)[0]);
    const found = new Promise((resolve) => this.waiting.push({ wanted, resolve }));
    const lost = this.closed.then(({ code, reason }) => {
      throw new Error(`closed with ${code} ${reason} while ${what} was awaited`);
    });
    return within(Promise.race([found, lost]), what);
  }

  /** Sends a command; the `seq` of its reply. */
  post(cmd_id, data, fields = {}) {
    this.socket.send(JSON.stringify({ cmd_id, seq: ++this.seq, data, ...fields }));
    return this.seq;
  }

  reply(seq) {
    return this.wait(`the reply to ${seq}`, (m) => m.cmd_id !== 2 && m.cmd_id !== 5001 && m.seq === seq);
  }

  command(cmd_id, data, fields) {
    return this.reply(this.post(cmd_id, data, fields));
  }

  /** The content of the next push. */
  async push() {
    return (await this.wait("a push", (m) => m.cmd_id === 5001)).data.content;
  }

  async close() {
    this.socket.close();
    await within(this.closed, "the end of the connection");
  }
}

/** A chat message whose JSON has exactly `size` bytes; the padding is a field that no service knows. */
function messageOfSize(to_user, seq, size) {
  const message = { cmd_id: 2001, seq, data: { to_user, content: "large", padding: "" } };
  message.data.padding = "x".repeat(size - JSON.stringify(message).length);
  return JSON.stringify(message);
}

class Conversation {
  constructor(library, environment) {
    this.library = library;
    this.device = `${library.name}-1`;
    Object.assign(this, environment); // ws, http, user, peer, admin, service
  }

  async request(path, body, headers = {}) {
    const response = await fetch(this.http + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE),
    });
    const reply = await response.json();
    equal(response.status, 200, `status of ${path} (${JSON.stringify(reply)})`);
    return reply;
  }

  async tokenOf(username, device_id) {
    const login = { username, password: "password", device_id, platform: "desktop" };
    return (await this.request("/api/auth/login", login)).access_token;
  }

  arrive(query, options) {
    return Person.arrive(this.library, this.ws + query, options);
  }

  async begin() {
    this.token = await this.tokenOf(this.user, this.device);
  }

  async header() {
    const person = await this.arrive("", { headers: { Authorization: `Bearer ${this.token}` } });
    equal(person.authenticated, true, "authenticated by the header");
    await person.close();
  }

  async query() {
    const person = await this.arrive(`?token=${this.token}`);
    equal(person.authenticated, true, "authenticated by the query");
    await person.close();
  }

  async subprotocol() {
    const person = await this.arrive("", { protocols: ["mychat.v1.json", `bearer.${this.token}`] });
    equal(person.authenticated, true, "authenticated by the subprotocol");
    equal(person.socket.protocol, "mychat.v1.json", "the chosen subprotocol");
    await person.close();
  }

  async login() {
    const person = await this.arrive("");
    equal(person.authenticated, false, "authenticated without a token");
    const early = await person.command(2001, { to_user: this.peer, content: "early" });
    equal(early.code, 401, "a message before login");
    const device = { device_id: this.device, platform: "desktop" };
    const wrong = await person.command(1001, { username: this.user, password: "wrong" }, device);
    equal(wrong.code, 401, "login with a wrong password");
    const right = await person.command(1001, { username: this.user, password: "password" }, device);
    equal(right.code, 200, "login");
    equal((await person.command(9999, {})).code, 404, "an unknown command");
    person.socket.send("{ this is no JSON");
    const error = await person.wait("the error", (m) => m.cmd_id === 0);
    equal([error.code, error.seq], [400, 0], "answer to text that is no JSON");
    equal((await person.command(3001, {})).code, 200, "heartbeat after the errors");
    await person.close();
  }

  async messages() {
    const peerToken = await this.tokenOf(this.peer, `${this.library.name}-2`);
    // Of the three ways, the query is open to every library.
    this.other = await this.arrive(`?ack=1&token=${peerToken}`);
    this.person = await this.arrive(`?ack=1&token=${this.token}`);
    const ways = [
      [this.person, this.other, this.peer],
      [this.other, this.person, this.user],
    ];
    for (const [sender, receiver, to_user] of ways) {
      for (let batch = 0; batch < MESSAGES; batch += BATCH) {
        const texts = Array.from({ length: BATCH }, (_, number) => `message ${batch + number}`);
        const replies = texts.map((content) => sender.post(2001, { to_user, content }));
        for (const seq of replies) equal((await sender.reply(seq)).code, 200, "code of a reply");
        for (const text of texts) equal(await receiver.push(), text, "pushes in the order of sending");
      }
    }
    return `${MESSAGES} each way, each with its reply and its push`;
  }

  async fragmented() {
    const seq = ++this.person.seq;
    const content = "in parts ".repeat(500);
    const text = JSON.stringify({ cmd_id: 2001, seq, data: { to_user: this.peer, content } });
    this.person.socket.sendFragments([text.slice(0, 1), text.slice(1, 1000), text.slice(1000)]);
    equal((await this.person.reply(seq)).code, 200, "reply to a fragmented message");
    equal(await this.other.push(), content, "the push of a fragmented message");
  }

  async large() {
    const seq = ++this.person.seq;
    this.person.socket.send(messageOfSize(this.peer, seq, MIB));
    equal((await this.person.reply(seq)).code, 200, "reply to a message of 1 MiB");
    equal(await this.other.push(), "large", "the push of a message of 1 MiB");
    const content = "y".repeat(1_000_000);
    await this.request("/api/push", { user_id: this.user, content }, { "X-API-Key": this.service });
    equal(await this.person.push(), content, "the content of a large push");
    return "sent 1 MiB, received 1 MB";
  }

  ping() {
    return within(this.person.socket.ping("are you there"), "the answer to a ping");
  }

  async idle() {
    await sleep(QUIET);
    equal(this.person.inbox, [], "what came while nothing was sent");
    equal((await this.person.command(3001, {})).code, 200, "heartbeat after a time without messages");
    return `${QUIET / 1000} s, answering pings`;
  }

  async resume() {
    const last = this.person.lastPushId;
    await this.person.close();
    const peerToken = await this.tokenOf(this.peer, "elsewhere");
    const texts = [0, 1, 2].map((number) => `missed ${number}`);
    for (const content of texts) {
      const message = { cmd_id: 2001, seq: 1, data: { to_user: this.user, content } };
      await this.request("/api/message", message, { Authorization: `Bearer ${peerToken}` });
    }
    this.person = await this.arrive(`?ack=1&last_push_id=${last}&token=${this.token}`);
    for (const text of texts) equal(await this.person.push(), text, "pushes missed");
    equal((await this.person.command(3001, {})).code, 200, "heartbeat after the resume");
    equal(this.person.inbox.filter((m) => m.cmd_id === 5001), [], "pushes that came twice");
  }

  async close() {
    const kick = { user_id: this.user, device_id: this.device, reason: "seen by the client", revoke: false };
    const { kicked } = await this.request("/api/connections/kick", kick, { "X-API-Key": this.admin });
    equal(kicked, 1, "connections kicked");
    const { code, reason } = await within(this.person.closed, "the end of the connection");
    equal(code, 4411, "the close code");
    equal(String(reason).includes("seen by the client"), true, `the close reason ${reason}`);
    await this.other.close();
    return "4411 with its reason";
  }
}

/** Runs the steps, passing over those that the library cannot do; whether all went well. */
export async function hold(library, environment, report) {
  const conversation = new Conversation(library, environment);
  let step = "begin";
  try {
    await conversation.begin();
    for (step of STEPS) {
      const reason = library.cannot?.[step];
      if (reason) {
        report(`skip ${step} ${reason}`);
        continue;
      }
      const detail = await conversation[step]();
      report(`ok ${step}${detail ? ` ${detail}` : ""}`);
    }
    return true;
  } catch (error) {
    report(`FAILED ${step}: ${String(error?.message ?? error).replaceAll("\n", " ")}`);
    return false;
  }
}
