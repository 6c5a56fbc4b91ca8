import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.json.JSONObject;

/** The conversation of ../python/conversation.py, for Java's libraries: the same steps under the same names. */
final class Conversation {
    /** Seconds for any one answer. */
    static final long DEADLINE = 15;

    private static final int MESSAGES = 1000;
    /** Messages sent before their replies are read. The gateway works on 256 of one session at a time. */
    private static final int BATCH = 100;

    private static final int MIB = 1 << 20;
    /** Seconds, longer than 2.5 of the test's ping intervals of 2 s: a client that answers no ping is closed by then. */
    private static final long QUIET = 6;

    private static final String WS = System.getenv("GATEWAY_WS");
    private static final String HTTP = System.getenv("GATEWAY_HTTP");
    private static final String USER = System.getenv("CLIENT_USER");
    private static final String PEER = System.getenv("CLIENT_PEER");
    private static final HttpClient HTTP_CLIENT =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(DEADLINE)).build();

    /** The gateway or the library did something else than the protocol says. */
    static final class Difference extends RuntimeException {
        Difference(String text) {
            super(text.substring(0, Math.min(text.length(), 1000)));
        }
    }

    static void equal(Object found, Object expected, String what) {
        if (!Objects.equals(found, expected)) {
            throw new Difference(what + ": " + found + ", expected " + expected);
        }
    }

    private static JSONObject object(Object... fields) {
        JSONObject object = new JSONObject();
        for (int at = 0; at < fields.length; at += 2) {
            object.put((String) fields[at], fields[at + 1]);
        }
        return object;
    }

    /** One HTTP request, which has to succeed. */
    private static JSONObject post(String path, JSONObject body, String... headers) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(HTTP + path))
                .header("Content-Type", "application/json")
                .timeout(Duration.ofSeconds(DEADLINE))
                .POST(HttpRequest.BodyPublishers.ofString(body.toString()));
        if (headers.length > 0) {
            request.headers(headers);
        }
        var response = HTTP_CLIENT.send(request.build(), BodyHandlers.ofString());
        equal(response.statusCode(), 200, "status of " + path);
        return new JSONObject(response.body());
    }

    private static String tokenOf(String user, String device) throws Exception {
        JSONObject login =
                object("username", user, "password", "password", "device_id", device, "platform", "desktop");
        return post("/api/auth/login", login).getString("access_token");
    }

    /** One open connection, with the messages that came on it and that nobody has asked for yet. */
    private static final class Person {
        final BlockingQueue<Library.Event> events = new LinkedBlockingQueue<>();
        final List<JSONObject> inbox = new ArrayList<>();
        final Library.Socket socket;
        final boolean authenticated;
        int seq = 0;
        String lastPushId;

        Person(Library library, String url, Map<String, String> headers, List<String> protocols) throws Exception {
            socket = library.open(url, headers, protocols, events);
            JSONObject welcome = await("the welcome", m -> m.getInt("cmd_id") == 2
                    && m.getJSONObject("data").getString("event").equals("welcome"));
            authenticated = welcome.getJSONObject("data").getBoolean("authenticated");
        }

        private Library.Event next(String what) throws Exception {
            Library.Event event = events.poll(DEADLINE, TimeUnit.SECONDS);
            if (event == null) {
                throw new Difference(what + " did not come; came: " + inbox);
            }
            return event;
        }

        /** The first message that is wanted; the others stay for later. */
        JSONObject await(String what, Predicate<JSONObject> wanted) throws Exception {
            for (int at = 0; at < inbox.size(); at++) {
                if (wanted.test(inbox.get(at))) {
                    return inbox.remove(at);
                }
            }
            while (true) {
                Library.Event event = next(what);
                if (event.text() == null) {
                    throw new Difference("closed: " + event + " while " + what + " was awaited");
                }
                JSONObject message = read(event.text());
                if (wanted.test(message)) {
                    return message;
                }
                inbox.add(message);
            }
        }

        /** Parses a message and acknowledges it if it is a push. */
        private JSONObject read(String text) throws Exception {
            JSONObject message = new JSONObject(text);
            if (message.opt("data") instanceof String inner) {
                message.put("data", new JSONObject(inner.isEmpty() ? "{}" : inner));
            }
            if (message.getInt("cmd_id") == 5001) {
                lastPushId = message.getJSONObject("data").getString("push_id");
                socket.send(object("cmd_id", 5006, "data", object("push_id", lastPushId)).toString());
            }
            return message;
        }

        /** Sends a command; the `seq` of its reply. */
        int post(int command, JSONObject data, String... fields) throws Exception {
            JSONObject message = object((Object[]) fields);
            socket.send(message.put("cmd_id", command).put("seq", ++seq).put("data", data).toString());
            return seq;
        }

        JSONObject reply(int seq) throws Exception {
            Set<Integer> unasked = Set.of(2, 5001);
            return await("the reply to " + seq,
                    m -> !unasked.contains(m.getInt("cmd_id")) && m.optInt("seq") == seq);
        }

        int command(int command, JSONObject data, String... fields) throws Exception {
            return reply(post(command, data, fields)).getInt("code");
        }

        /** The content of the next push. */
        String push() throws Exception {
            return await("a push", m -> m.getInt("cmd_id") == 5001).getJSONObject("data").getString("content");
        }

        Library.Event closed() throws Exception {
            while (true) {
                Library.Event event = next("the end of the connection");
                if (event.text() == null) {
                    return event;
                }
            }
        }

        void close() throws Exception {
            socket.close();
            closed();
        }
    }

    private final Library library;
    private final String device;
    private String token;
    private Person person;
    private Person peer;

    Conversation(Library library) {
        this.library = library;
        this.device = library.name() + "-1";
    }

    private Person arrive(String query) throws Exception {
        return new Person(library, WS + query, Map.of(), List.of());
    }

    private String header() throws Exception {
        Person person = new Person(library, WS, Map.of("Authorization", "Bearer " + token), List.of());
        equal(person.authenticated, true, "authenticated by the header");
        person.close();
        return "";
    }

    private String query() throws Exception {
        Person person = arrive("?token=" + token);
        equal(person.authenticated, true, "authenticated by the query");
        person.close();
        return "";
    }

    private String subprotocol() throws Exception {
        Person person = new Person(library, WS, Map.of(), List.of("mychat.v1.json", "bearer." + token));
        equal(person.authenticated, true, "authenticated by the subprotocol");
        equal(person.socket.protocol(), "mychat.v1.json", "the chosen subprotocol");
        person.close();
        return "";
    }

    private String login() throws Exception {
        Person person = arrive("");
        equal(person.authenticated, false, "authenticated without a token");
        equal(person.command(2001, object("to_user", PEER, "content", "early")), 401, "a message before login");
        String[] on = {"device_id", device, "platform", "desktop"};
        JSONObject login = object("username", USER, "password", "wrong");
        equal(person.command(1001, login, on), 401, "login with a wrong password");
        equal(person.command(1001, login.put("password", "password"), on), 200, "login");
        equal(person.command(9999, object()), 404, "an unknown command");
        person.socket.send("{ this is no JSON");
        JSONObject error = person.await("the error", m -> m.getInt("cmd_id") == 0);
        equal(error.getInt("code"), 400, "answer to text that is no JSON");
        equal(person.command(3001, object()), 200, "heartbeat after the errors");
        person.close();
        return "";
    }

    private String messages() throws Exception {
        // Of the three ways, the query is open to every library.
        peer = arrive("?ack=1&token=" + tokenOf(PEER, library.name() + "-2"));
        person = arrive("?ack=1&token=" + token);
        send(person, peer, PEER);
        send(peer, person, USER);
        return MESSAGES + " each way, each with its reply and its push";
    }

    private static void send(Person sender, Person receiver, String name) throws Exception {
        for (int first = 0; first < MESSAGES; first += BATCH) {
            Set<Integer> replies = new HashSet<>();
            for (int number = first; number < first + BATCH; number++) {
                replies.add(sender.post(2001, object("to_user", name, "content", "message " + number)));
            }
            for (int seq : replies) {
                equal(sender.reply(seq).getInt("code"), 200, "code of a reply");
            }
            for (int number = first; number < first + BATCH; number++) {
                equal(receiver.push(), "message " + number, "pushes in the order of sending");
            }
        }
    }

    private String fragmented() throws Exception {
        String content = "in parts ".repeat(500);
        String text = object("cmd_id", 2001, "seq", ++person.seq, "data", object("to_user", PEER, "content", content))
                .toString();
        person.socket.sendFragments(List.of(text.substring(0, 1), text.substring(1, 1000), text.substring(1000)));
        equal(person.reply(person.seq).getInt("code"), 200, "reply to a fragmented message");
        equal(peer.push(), content, "the push of a fragmented message");
        return "";
    }

    private String large() throws Exception {
        JSONObject data = object("to_user", PEER, "content", "large", "padding", "");
        JSONObject message = object("cmd_id", 2001, "seq", ++person.seq, "data", data);
        data.put("padding", "x".repeat(MIB - message.toString().length()));
        person.socket.send(message.toString());
        equal(person.reply(person.seq).getInt("code"), 200, "reply to a message of 1 MiB");
        equal(peer.push(), "large", "the push of a message of 1 MiB");
        String content = "y".repeat(1_000_000);
        post("/api/push", object("user_id", USER, "content", content), "X-API-Key", System.getenv("GATEWAY_SERVICE_KEY"));
        equal(person.push(), content, "the content of a large push");
        return "sent 1 MiB, received 1 MB";
    }

    private String ping() throws Exception {
        person.socket.ping("are you there");
        return "";
    }

    private String idle() throws Exception {
        Library.Event event = person.events.poll(QUIET, TimeUnit.SECONDS);
        equal(event, null, "what came while nothing was sent");
        equal(person.command(3001, object()), 200, "heartbeat after a time without messages");
        return QUIET + " s, answering pings";
    }

    private String resume() throws Exception {
        String last = person.lastPushId;
        person.close();
        String peerToken = tokenOf(PEER, "elsewhere");
        for (int number = 0; number < 3; number++) {
            JSONObject data = object("to_user", USER, "content", "missed " + number);
            post("/api/message", object("cmd_id", 2001, "seq", 1, "data", data), "Authorization", "Bearer " + peerToken);
        }
        person = arrive("?ack=1&last_push_id=" + last + "&token=" + token);
        for (int number = 0; number < 3; number++) {
            equal(person.push(), "missed " + number, "pushes missed");
        }
        equal(person.command(3001, object()), 200, "heartbeat after the resume");
        for (JSONObject message : person.inbox) {
            equal(message.getInt("cmd_id") == 5001, false, "a push that came twice");
        }
        return "";
    }

    private String close() throws Exception {
        JSONObject kick = object("user_id", USER, "device_id", device, "reason", "seen by the client", "revoke", false);
        JSONObject reply = post("/api/connections/kick", kick, "X-API-Key", System.getenv("GATEWAY_ADMIN_KEY"));
        equal(reply.getInt("kicked"), 1, "connections kicked");
        Library.Event end = person.closed();
        equal(end.code(), 4411, "the close code");
        equal(end.reason().contains("seen by the client"), true, "the close reason " + end.reason());
        peer.close();
        return "4411 with its reason";
    }

    /** Runs the steps, passing over those that the library cannot do; whether all went well. */
    boolean hold() {
        Map<String, Callable<String>> steps = new LinkedHashMap<>();
        steps.put("header", this::header);
        steps.put("query", this::query);
        steps.put("subprotocol", this::subprotocol);
        steps.put("login", this::login);
        steps.put("messages", this::messages);
        steps.put("fragmented", this::fragmented);
        steps.put("large", this::large);
        steps.put("ping", this::ping);
        steps.put("idle", this::idle);
        steps.put("resume", this::resume);
        steps.put("close", this::close);
        String step = "begin";
        try {
            token = tokenOf(USER, device);
            for (var entry : steps.entrySet()) {
                step = entry.getKey();
                String reason = library.cannot().get(step);
                String line = reason != null ? "skip " + step + " " + reason
                        : "ok " + step + " " + entry.getValue().call();
                System.out.println(line.trim());
            }
            return true;
        } catch (Exception error) {
            System.out.println("FAILED " + step + ": " + error);
            return false;
        }
    }
}
