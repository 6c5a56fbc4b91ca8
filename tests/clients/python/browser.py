"""A browser as client: `browser.py PROGRAM chromium|firefox` opens a page in it that holds the conversation.

The page is served from here, and its lines come back here by POST. It uses the conversation of ../node.
"""

import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CONVERSATION = pathlib.Path(__file__).parent.parent / "node/conversation.mjs"
# Seconds for the whole conversation, the browser's start included.
DEADLINE = 100
PAGE = """<!doctype html>
<title>conversation</title>
<script type="module">
import { hold } from "/conversation.mjs";

const tell = (line) => fetch("/line", { method: "POST", body: line });
const library = {
  name: %(name)s,
  cannot: {
    header: "pages cannot set headers",
    fragmented: "pages send whole messages only",
    ping: "pages have no pings",
  },
  async open(url, headers, protocols, handlers) {
    const socket = new WebSocket(url, protocols);
    socket.onmessage = ({ data }) => handlers.message(data);
    socket.onclose = ({ code, reason }) => handlers.closed(code, reason);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("not opened"));
    });
    return { protocol: socket.protocol, send: (text) => socket.send(text), close: () => socket.close(1000) };
  },
};
let lines = Promise.resolve();
const well = await hold(library, %(environment)s, (line) => (lines = lines.then(() => tell(line))));
await lines;
await tell(`end ${well}`);
</script>
"""
# Without these, a new profile talks to its maker's servers first.
FIREFOX_PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
    "browser.aboutwelcome.enabled": False,
}
CHROMIUM_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def page(name):
    environment = {
        "ws": os.environ["GATEWAY_WS"],
        "http": os.environ["GATEWAY_HTTP"],
        "user": os.environ["CLIENT_USER"],
        "peer": os.environ["CLIENT_PEER"],
        "admin": os.environ["GATEWAY_ADMIN_KEY"],
        "service": os.environ["GATEWAY_SERVICE_KEY"],
    }
    return PAGE % {"name": json.dumps(name), "environment": json.dumps(environment)}


def serve(name):
    """A server of the page on a free port, and the queue of the lines that the page sends."""
    lines = queue.Queue()
    files = {
        "/": ("text/html", page(name).encode()),
        "/conversation.mjs": ("text/javascript", CONVERSATION.read_bytes()),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind, body = files.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in files else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            lines.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/", lines


def command(program, name, profile, url):
    if name == "firefox":
        preferences = "".join(f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in FIREFOX_PREFERENCES.items())
        (pathlib.Path(profile) / "user.js").write_text(preferences)
        return [program, "--headless", "--no-remote", "--profile", profile, url]
    # Its sandbox refuses to run as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return [program, *CHROMIUM_OPTIONS, *sandbox, f"--user-data-dir={profile}", url]


def main():
    program, name = sys.argv[1:]
    url, lines = serve(name)
    profile = tempfile.mkdtemp(prefix=f"{name}-")
    log = open(os.path.join(profile, "output.log"), "w+")
    browser = subprocess.Popen(
        command(program, name, profile, url), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    # When we are stopped, the browser goes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            if line.startswith("end "):
                return 0 if line == "end true" else 1
            print(line, flush=True)
    except queue.Empty:
        log.seek(0)
        print(f"FAILED: the page has sent no end within {DEADLINE} s; the browser said: {log.read()[-2000:]}")
        return 1
    finally:
        # The browser's processes are one group, made for it above.
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        log.close()
        shutil.rmtree(profile, ignore_errors=True)


sys.exit(main())
