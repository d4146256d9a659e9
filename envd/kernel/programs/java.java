// SPDX-License-Identifier: Apache-2.0
/*
 * The Java kernel: cells are snippets of JShell, in this virtual machine. Frames are
 * "<letter> <length>\n<bytes>" on descriptor 3 (envd/kernel/kernel_message.h). A thread reads them,
 * so that an interrupt reaches a cell that runs. What other kernels have as variables of the
 * environment are system properties here.
 */
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import jdk.jshell.EvalException;
import jdk.jshell.JShell;
import jdk.jshell.Snippet;
import jdk.jshell.SnippetEvent;
import jdk.jshell.SourceCodeAnalysis;
import jdk.jshell.SourceCodeAnalysis.CompletionInfo;

public class Kernel {
    static final int TEXT_MAX = 32 * 1024;
    static final int RESULT_MAX = 1024 * 1024;
    static final String IMPORTS = "import java.io.*; import java.math.*; import java.net.*;"
            + "import java.nio.file.*; import java.util.*; import java.util.concurrent.*;"
            + "import java.util.function.*; import java.util.regex.*; import java.util.stream.*;";

    record Order(char kind, byte[] body) {
        String text() {
            return new String(body, StandardCharsets.UTF_8);
        }
    }

    /* System.out or System.err: a frame for what is flushed. */
    static class Text extends OutputStream {
        private final char kind;
        private final ByteArrayOutputStream waiting = new ByteArrayOutputStream();

        Text(char kind) {
            this.kind = kind;
        }

        @Override
        public synchronized void write(int b) throws IOException {
            waiting.write(b);
            if (waiting.size() >= TEXT_MAX)
                flush();
        }

        @Override
        public synchronized void flush() throws IOException {
            if (waiting.size() == 0)
                return;
            put(kind, waiting.toByteArray());
            waiting.reset();
        }
    }

    static OutputStream channel;
    static DataInputStream orders;
    static JShell shell;
    static volatile boolean isRunning, isInterrupted;
    static final BlockingQueue<Order> queue = new LinkedBlockingQueue<>();
    static final Map<String, String> old = new HashMap<>();

    static synchronized void put(char kind, byte[] body) throws IOException {
        channel.write(("F 0\n" + kind + " " + body.length + "\n").getBytes());
        channel.write(body);
    }

    static String quoted(String text) {
        var out = new StringBuilder("\"");
        for (char c : text.substring(0, Math.min(text.length(), RESULT_MAX)).toCharArray()) {
            if (c < 0x20 || c > 0x7E || c == '"' || c == '\\')
                out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
            else
                out.append(c);
        }
        return out.append('"').toString();
    }

    static void putError(String name, String value, String traceback) throws IOException {
        put('X', ("{\"name\":" + quoted(name) + ",\"value\":" + quoted(value) + ",\"traceback\":"
                + quoted(traceback) + "}").getBytes());
    }

    static void putResult(String value) throws IOException {
        boolean isText = value.length() > 1 && value.startsWith("\"") && value.endsWith("\"");
        String text = isText ? value.substring(1, value.length() - 1).translateEscapes() : value;
        String members = "\"is_main_result\":true,\"text\":" + quoted(text) + ",\"extra\":{}";
        put('P', ("{" + members + "}").getBytes());
    }

    /* Return: false when the cell is over, since this snippet failed. */
    static boolean tell(SnippetEvent event) throws IOException {
        if (event.causeSnippet() != null)
            return true; // an earlier one that is affected
        if (isInterrupted) {
            putError("KeyboardInterrupt", "", "interrupted");
            return false;
        }
        if (event.status() == Snippet.Status.REJECTED) {
            String why = shell.diagnostics(event.snippet()).map(d -> d.getMessage(Locale.ROOT))
                    .collect(Collectors.joining("\n"));
            putError("CompilationError", why, event.snippet().source() + "\n" + why);
            return false;
        }
        Exception error = event.exception();
        if (error == null)
            return true;
        String name = error instanceof EvalException e ? e.getExceptionClassName()
                : error.getClass().getSimpleName();
        var trace = new StringBuilder(name + ": " + error.getMessage());
        for (StackTraceElement each : error.getStackTrace())
            trace.append("\n\tat ").append(each);
        putError(name, String.valueOf(error.getMessage()), trace.toString());
        return false;
    }

    static boolean hasValue(SnippetEvent event) {
        boolean isValue = event.snippet().kind() == Snippet.Kind.EXPRESSION
                || event.snippet().subKind() == Snippet.SubKind.TEMP_VAR_EXPRESSION_SUBKIND;
        return isValue && event.value() != null && !event.value().isEmpty();
    }

    static void run(String code) throws IOException {
        SourceCodeAnalysis analysis = shell.sourceCodeAnalysis();
        SnippetEvent last = null;
        for (String rest = code; !rest.isBlank();) {
            CompletionInfo part = analysis.analyzeCompletion(rest);
            boolean isWhole = part.completeness().isComplete();
            for (SnippetEvent event : shell.eval(isWhole ? part.source() : rest)) {
                if (!tell(event))
                    return;
                last = event.causeSnippet() == null ? event : last;
            }
            rest = isWhole ? part.remaining() : "";
        }
        if (last != null && hasValue(last))
            putResult(last.value());
    }

    static void runCell(String code) throws IOException {
        isInterrupted = false;
        isRunning = true;
        try {
            run(code);
        } finally {
            isRunning = false;
        }
        System.out.flush();
        System.err.flush();
        for (var each : old.entrySet()) {
            if (each.getValue() == null)
                System.clearProperty(each.getKey());
            else
                System.setProperty(each.getKey(), each.getValue());
        }
        old.clear();
        put('D', new byte[0]);
    }

    static void setProperties(String pairs, boolean isForCell) {
        for (String pair : pairs.split("\0")) {
            int at = pair.indexOf('=');
            if (at < 1)
                continue;
            String before = System.setProperty(pair.substring(0, at), pair.substring(at + 1));
            if (isForCell)
                old.putIfAbsent(pair.substring(0, at), before);
        }
    }

    static void readOrders() {
        try {
            while (true) {
                var head = new StringBuilder();
                for (int c; (c = orders.readUnsignedByte()) != '\n';)
                    head.append((char) c);
                byte[] body = new byte[Integer.parseInt(head.substring(2))];
                orders.readFully(body);
                if (head.charAt(0) != 'I') {
                    queue.add(new Order(head.charAt(0), body));
                } else if (isRunning) {
                    isInterrupted = true;
                    shell.stop();
                }
            }
        } catch (IOException e) {
            Runtime.getRuntime().halt(0); // envd is gone
        }
    }

    public static void main(String[] args) throws Exception {
        new File(args[0], "Kernel.java").delete();
        new File(args[0]).delete();
        var made = FileDescriptor.class.getDeclaredConstructor(int.class);
        made.setAccessible(true);
        channel = new FileOutputStream(made.newInstance(3));
        orders = new DataInputStream(new FileInputStream(made.newInstance(3)));
        sun.misc.Signal.handle(new sun.misc.Signal("INT"), s -> { }); // envd asks, too
        System.setOut(new PrintStream(new Text('O'), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Text('E'), true, StandardCharsets.UTF_8));
        shell = JShell.builder().executionEngine("local").build();
        for (String each : IMPORTS.split("(?<=;)"))
            shell.eval(each);
        var reader = new Thread(Kernel::readOrders);
        reader.setDaemon(true);
        reader.start();
        put('R', new byte[0]);
        while (true) {
            Order order = queue.take();
            if (order.kind() == 'X')
                runCell(order.text());
            else if (order.kind() == 'G' || order.kind() == 'V')
                setProperties(order.text(), order.kind() == 'V');
            else if (order.kind() == 'D')
                System.setProperty("user.dir", order.text());
        }
    }
}
