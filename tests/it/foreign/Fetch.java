import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/**
 * Fetches a URL and prints the answer, or the error as a stack trace would begin.
 *
 * <p>java -Dhttps.proxyHost=... -Dhttps.proxyPort=... Fetch.java client|connection|websocket URL
 */
class Fetch {
    public static void main(String[] arguments) {
        try {
            URI uri = URI.create(arguments[1]);
            switch (arguments[0]) {
                case "client" -> withClient(uri);
                case "connection" -> withConnection(uri.toURL());
                case "websocket" -> withWebSocket(uri);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
            System.exit(0);
        } catch (Throwable error) {
            while (error instanceof CompletionException && error.getCause() != null) {
                error = error.getCause();
            }
            for (; error != null; error = error.getCause()) {
                System.err.println(error);
            }
            System.exit(1);
        }
    }

    private static HttpClient client() {
        int port = Integer.getInteger("https.proxyPort");
        var address = new InetSocketAddress(System.getProperty("https.proxyHost"), port);
        return HttpClient.newBuilder().proxy(ProxySelector.of(address)).build();
    }

    private static void withClient(URI uri) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(uri).build();
        HttpResponse<String> answer = client().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.version() + " " + answer.statusCode());
        System.out.print(answer.body());
    }

    private static void withConnection(URL url) throws Exception {
        try (InputStream answer = url.openStream()) {
            System.out.print(new String(answer.readAllBytes()));
        }
    }

    /** Sends one message and waits for its echo. */
    private static void withWebSocket(URI uri) throws Exception {
        var echo = new CompletableFuture<String>();
        var listener = new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
                echo.complete(text.toString());
                return null;
            }

            @Override
            public void onError(WebSocket socket, Throwable error) {
                echo.completeExceptionally(error);
            }
        };
        WebSocket socket = client().newWebSocketBuilder().buildAsync(uri, listener).join();
        socket.sendText("hello", true).join();
        System.out.println("echo: " + echo.get(60, TimeUnit.SECONDS));
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
    }
}
