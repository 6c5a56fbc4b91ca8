// Node's WebSocket clients: `client.mjs LIBRARY` holds the conversation with one.
//
// CLIENT_MODULES is the folder whose node_modules has the packages; ../python/conversation.py lists the rest.

import { spawn, spawnSync } from "node:child_process";
import diagnostics from "node:diagnostics_channel";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { equal, hold } from "./conversation.mjs";

const { env } = process;
const load = createRequire(join(env.CLIENT_MODULES, "package.json"));
const NO_FRAMES = "the library sends whole messages only";

const ws = {
  name: "ws",
  async open(url, headers, protocols, handlers) {
    const socket = new (load("ws"))(url, protocols, { headers });
    socket.on("message", (data) => handlers.message(data.toString()));
    socket.on("close", (code, reason) => handlers.closed(code, reason.toString()));
    await once(socket, "open");
    return {
      protocol: socket.protocol,
      send: (text) => socket.send(text),
      sendFragments: (parts) => parts.forEach((part, at) => socket.send(part, { fin: at === parts.length - 1 })),
      ping: async (payload) => {
        const pong = once(socket, "pong");
        socket.ping(payload);
        equal((await pong)[0].toString(), payload, "the answer to a ping");
      },
      close: () => socket.close(1000),
    };
  },
};

const websocket = {
  name: "websocket",
  async open(url, headers, protocols, handlers) {
    const client = new (load("websocket").client)({
      fragmentationThreshold: 1000,
      // Its default for a frame is 64 KiB, its default for a message 1 MiB.
      maxReceivedFrameSize: 4 << 20,
      maxReceivedMessageSize: 4 << 20,
    });
    client.on("connect", (socket) => {
      // At once: the first message may be there before an `await` returns.
      socket.on("message", (message) => handlers.message(message.utf8Data));
      socket.on("close", (code, reason) => handlers.closed(code, reason));
    });
    const opened = new Promise((resolve, reject) => client.on("connect", resolve).on("connectFailed", reject));
    client.connect(url, protocols, undefined, headers);
    const socket = await opened;
    return {
      protocol: socket.protocol,
      send: (text) => socket.sendUTF(text),
      // It splits by itself what is longer than the threshold.
      sendFragments: (parts) => socket.sendUTF(parts.join("")),
      ping: async (payload) => {
        const pong = once(socket, "pong");
        socket.ping(payload);
        equal((await pong)[0].toString(), payload, "the answer to a ping");
      },
      close: () => socket.close(1000),
    };
  },
};

const faye = {
  name: "faye-websocket",
  cannot: { fragmented: NO_FRAMES },
  async open(url, headers, protocols, handlers) {
    const socket = new (load("faye-websocket").Client)(url, protocols, { headers });
    socket.on("message", ({ data }) => handlers.message(data));
    socket.on("close", ({ code, reason }) => handlers.closed(code, reason));
    await once(socket, "open");
    return {
      protocol: socket.protocol,
      send: (text) => socket.send(text),
      ping: (payload) => new Promise((resolve) => socket.ping(payload, resolve)),
      close: () => socket.close(1000),
    };
  },
};

/** The browsers' interface, as undici and Node have it. */
async function standard(socket, handlers) {
  socket.onmessage = ({ data }) => handlers.message(data);
  socket.onclose = ({ code, reason }) => handlers.closed(code, reason);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = (event) => reject(event.error ?? new Error("not opened"));
  });
  return { protocol: socket.protocol, send: (text) => socket.send(text), close: () => socket.close(1000) };
}

const undici = {
  name: "undici",
  cannot: { fragmented: NO_FRAMES },
  async open(url, headers, protocols, handlers) {
    const library = load("undici");
    const socket = new library.WebSocket(url, { protocols, headers });
    const ping = async (payload) => {
      const pong = new Promise((resolve) => {
        diagnostics.subscribe("undici:websocket:pong", ({ payload, websocket }) => {
          if (websocket === socket) resolve(payload.toString());
        });
      });
      library.ping(socket, Buffer.from(payload));
      equal(await pong, payload, "the answer to a ping");
    };
    return { ...(await standard(socket, handlers)), ping };
  },
};

const FLAG = "--experimental-websocket"; // needed before Node.js 22
const global = {
  name: "node",
  cannot: { fragmented: NO_FRAMES, ping: "the interface has no pings" },
  async open(url, headers, protocols, handlers) {
    return standard(new WebSocket(url, { protocols, headers }), handlers);
  },
};

/** wscat is a program: a line in is a message out, and it prints what comes. */
const wscat = {
  name: "wscat",
  cannot: { fragmented: NO_FRAMES, close: "it shows close codes on a terminal only" },
  async open(url, headers, protocols, handlers) {
    const options = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    options.push(...protocols.flatMap((protocol) => ["-s", protocol]), "--slash", "--show-ping-pong", "-c", url);
    const program = join(env.CLIENT_MODULES, "node_modules/wscat/bin/wscat");
    const child = spawn(process.execPath, [program, ...options], { stdio: ["pipe", "pipe", "inherit"] });
    let pong;
    createInterface({ input: child.stdout }).on("line", (printed) => {
      const line = printed.replace(/^(> )+/, ""); // its prompts
      if (line.startsWith("{")) handlers.message(line);
      else if (line.startsWith("Received pong")) pong?.();
    });
    child.on("close", (code) => handlers.closed(code, "wscat has ended"));
    return {
      // It does not show which one was chosen, but leaves when none was.
      protocol: protocols[0],
      send: (text) => child.stdin.write(`${text}\n`),
      ping: () => new Promise((resolve) => ((pong = resolve), child.stdin.write("/ping\n"))),
      close: () => child.stdin.write("/close 1000\n"),
    };
  },
};

const library = [ws, websocket, faye, undici, global, wscat].find(({ name }) => name === process.argv[2]);

/** Why this Node.js cannot run the library. */
function absence() {
  const major = Number(process.versions.node.split(".")[0]);
  if (library === undici && major < 20) return "undici 7 needs Node.js 20 or later";
  if (library === global && typeof WebSocket === "undefined") return "this Node.js has no WebSocket of its own";
  return undefined;
}

if (library === global && typeof WebSocket === "undefined" && process.allowedNodeEnvironmentFlags.has(FLAG)) {
  const again = spawnSync(process.execPath, [FLAG, ...process.argv.slice(1)], { stdio: "inherit" });
  process.exit(again.status ?? 1);
}
if (absence()) {
  console.log(`absent ${absence()}`);
  process.exit(0);
}
const environment = {
  ws: env.GATEWAY_WS,
  http: env.GATEWAY_HTTP,
  user: env.CLIENT_USER,
  peer: env.CLIENT_PEER,
  admin: env.GATEWAY_ADMIN_KEY,
  service: env.GATEWAY_SERVICE_KEY,
};
process.exit((await hold(library, environment, console.log)) ? 0 : 1);
