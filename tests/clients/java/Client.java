import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocketListener;
import org.java_websocket.client.WebSocketClient;
import org.java_websocket.drafts.Draft_6455;
import org.java_websocket.enums.Opcode;
import org.java_websocket.framing.Framedata;
import org.java_websocket.framing.PingFrame;
import org.java_websocket.handshake.ServerHandshake;
import org.java_websocket.protocols.IProtocol;
import org.java_websocket.protocols.Protocol;

/** Java's WebSocket clients: the first argument names the library to hold the conversation with. */
public final class Client {
    private static final List<Library> LIBRARIES = List.of(new Jdk(), new OkHttp(), new JavaWebSocket());

    public static void main(String[] arguments) {
        for (Library library : LIBRARIES) {
            if (library.name().equals(arguments[0])) {
                boolean well = new Conversation(library).hold();
                // The libraries' threads would keep the process.
                System.exit(well ? 0 : 1);
            }
        }
        System.out.println("FAILED: no such library");
        System.exit(1);
    }

    /** Waits for the payload of a pong. */
    private static void pong(BlockingQueue<String> pongs, String payload) throws InterruptedException {
        Conversation.equal(pongs.poll(Conversation.DEADLINE, TimeUnit.SECONDS), payload, "the answer to a ping");
    }

    /** java.net.http of the JDK. */
    private static final class Jdk implements Library {
        public String name() {
            return "java.net.http";
        }

        public Map<String, String> cannot() {
            return Map.of();
        }

        public Socket open(String url, Map<String, String> headers, List<String> protocols, BlockingQueue<Event> events)
                throws Exception {
            BlockingQueue<String> pongs = new LinkedBlockingQueue<>();
            WebSocket.Listener listener = new WebSocket.Listener() {
                private final StringBuilder parts = new StringBuilder();

                @Override
                public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                    parts.append(data);
                    if (last) {
                        events.add(Event.message(parts.toString()));
                        parts.setLength(0);
                    }
                    socket.request(1);
                    return null;
                }

                @Override
                public CompletionStage<?> onPong(WebSocket socket, ByteBuffer payload) {
                    pongs.add(StandardCharsets.UTF_8.decode(payload).toString());
                    socket.request(1);
                    return null;
                }

                @Override
                public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                    events.add(Event.closed(code, reason));
                    return null;
                }

                @Override
                public void onError(WebSocket socket, Throwable error) {
                    events.add(Event.closed(-1, error.toString()));
                }
            };
            WebSocket.Builder builder =
                    HttpClient.newHttpClient().newWebSocketBuilder().connectTimeout(Duration.ofSeconds(Conversation.DEADLINE));
            headers.forEach(builder::header);
            if (!protocols.isEmpty()) {
                builder.subprotocols(protocols.get(0), protocols.subList(1, protocols.size()).toArray(new String[0]));
            }
            WebSocket socket = builder.buildAsync(URI.create(url), listener).get(Conversation.DEADLINE, TimeUnit.SECONDS);
            return new Socket() {
                public String protocol() {
                    return socket.getSubprotocol();
                }

                public void send(String text) throws Exception {
                    send(text, true);
                }

                /** It takes one message at a time. */
                private void send(String text, boolean last) throws Exception {
                    socket.sendText(text, last).get(Conversation.DEADLINE, TimeUnit.SECONDS);
                }

                public void sendFragments(List<String> parts) throws Exception {
                    for (int at = 0; at < parts.size(); at++) {
                        send(parts.get(at), at == parts.size() - 1);
                    }
                }

                public void ping(String payload) throws Exception {
                    socket.sendPing(ByteBuffer.wrap(payload.getBytes(StandardCharsets.UTF_8)));
                    pong(pongs, payload);
                }

                public void close() {
                    socket.sendClose(WebSocket.NORMAL_CLOSURE, "");
                }
            };
        }
    }

    private static final class OkHttp implements Library {
        // With a ping interval it fails a connection whose pong does not come within the interval.
        private final OkHttpClient client = new OkHttpClient.Builder().pingInterval(Duration.ofSeconds(4)).build();

        public String name() {
            return "okhttp";
        }

        public Map<String, String> cannot() {
            return Map.of(
                    "fragmented", "the library sends whole messages only",
                    "ping", "only by pingInterval, which runs during the other steps");
        }

        public Socket open(String url, Map<String, String> headers, List<String> protocols, BlockingQueue<Event> events)
                throws Exception {
            CompletableFuture<Response> opened = new CompletableFuture<>();
            WebSocketListener listener = new WebSocketListener() {
                @Override
                public void onOpen(okhttp3.WebSocket socket, Response response) {
                    opened.complete(response);
                }

                @Override
                public void onMessage(okhttp3.WebSocket socket, String text) {
                    events.add(Event.message(text));
                }

                @Override
                public void onClosing(okhttp3.WebSocket socket, int code, String reason) {
                    socket.close(code, null);
                    events.add(Event.closed(code, reason));
                }

                @Override
                public void onFailure(okhttp3.WebSocket socket, Throwable error, Response response) {
                    opened.completeExceptionally(error);
                    events.add(Event.closed(-1, error.toString()));
                }
            };
            Request.Builder request = new Request.Builder().url(url);
            headers.forEach(request::header);
            if (!protocols.isEmpty()) {
                request.header("Sec-WebSocket-Protocol", String.join(", ", protocols));
            }
            okhttp3.WebSocket socket = client.newWebSocket(request.build(), listener);
            Response response = opened.get(Conversation.DEADLINE, TimeUnit.SECONDS);
            return new Socket() {
                public String protocol() {
                    return response.header("Sec-WebSocket-Protocol");
                }

                public void send(String text) {
                    Conversation.equal(socket.send(text), true, "room in the library's queue of 16 MiB");
                }

                public void sendFragments(List<String> parts) {
                    throw new UnsupportedOperationException();
                }

                public void ping(String payload) {
                    throw new UnsupportedOperationException();
                }

                public void close() {
                    socket.close(1000, null);
                }
            };
        }
    }

    private static final class JavaWebSocket implements Library {
        public String name() {
            return "java-websocket";
        }

        public Map<String, String> cannot() {
            return Map.of();
        }

        public Socket open(String url, Map<String, String> headers, List<String> protocols, BlockingQueue<Event> events)
                throws Exception {
            BlockingQueue<String> pongs = new LinkedBlockingQueue<>();
            List<IProtocol> offered = protocols.isEmpty() ? List.of(new Protocol(""))
                    : protocols.stream().<IProtocol>map(Protocol::new).toList();
            WebSocketClient socket = new WebSocketClient(URI.create(url), new Draft_6455(List.of(), offered), headers) {
                @Override
                public void onOpen(ServerHandshake handshake) {}

                @Override
                public void onMessage(String text) {
                    events.add(Event.message(text));
                }

                @Override
                public void onWebsocketPong(org.java_websocket.WebSocket connection, Framedata frame) {
                    pongs.add(StandardCharsets.UTF_8.decode(frame.getPayloadData()).toString());
                }

                @Override
                public void onClose(int code, String reason, boolean remote) {
                    events.add(Event.closed(code, reason));
                }

                @Override
                public void onError(Exception error) {
                    events.add(Event.closed(-1, error.toString()));
                }
            };
            boolean opened = socket.connectBlocking(Conversation.DEADLINE, TimeUnit.SECONDS);
            Conversation.equal(opened, true, "opened");
            return new Socket() {
                public String protocol() {
                    return socket.getProtocol().getProvidedProtocol();
                }

                public void send(String text) {
                    socket.send(text);
                }

                public void sendFragments(List<String> parts) {
                    for (int at = 0; at < parts.size(); at++) {
                        ByteBuffer part = ByteBuffer.wrap(parts.get(at).getBytes(StandardCharsets.UTF_8));
                        // The library turns the opcode of all but the first into that of a continuation.
                        socket.sendFragmentedFrame(Opcode.TEXT, part, at == parts.size() - 1);
                    }
                }

                public void ping(String payload) throws Exception {
                    PingFrame frame = new PingFrame();
                    frame.setPayload(ByteBuffer.wrap(payload.getBytes(StandardCharsets.UTF_8)));
                    socket.sendFrame(frame);
                    pong(pongs, payload);
                }

                public void close() {
                    socket.close();
                }
            };
        }
    }
}
