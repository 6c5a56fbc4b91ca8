import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;

/** A WebSocket library behind the few methods that the conversation needs. */
interface Library {
    /** A message if `text` is not null, else the end of the connection. */
    record Event(String text, int code, String reason) {
        static Event message(String text) {
            return new Event(text, 0, null);
        }

        static Event closed(int code, String reason) {
            return new Event(null, code, reason);
        }
    }

    interface Socket {
        /** The chosen subprotocol. */
        String protocol();

        void send(String text) throws Exception;

        void sendFragments(List<String> parts) throws Exception;

        /** Returns when the pong is there. */
        void ping(String payload) throws Exception;

        void close() throws Exception;
    }

    String name();

    /** The steps that it cannot do, with the reasons. */
    Map<String, String> cannot();

    /** Opens a connection, whose events go to `events`. */
    Socket open(String url, Map<String, String> headers, List<String> protocols, BlockingQueue<Event> events)
            throws Exception;
}
