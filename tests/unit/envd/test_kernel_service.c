/* SPDX-License-Identifier: Apache-2.0 */
/* The code-interpreter API of a live envd. That it ends cleanly, and leaves nothing, is asserted
 * after each test: with cells that run, wait, or have lost their client. */
#include <sched.h>
#include <sys/stat.h>

#include "live_process.h"

static char python_dir[64], python_path[80];

/* The system's own python3, whatever the developer has put before it, and without IPython. */
static void plain_setup(void)
{
    char path[128];
    strcpy(python_dir, "/tmp/plain-python-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(python_dir));
    (void)snprintf(python_path, sizeof python_path, "%s/python3", python_dir);
    (void)snprintf(path, sizeof path, "%s:/usr/bin:/bin", python_dir);
    FILE *f = fopen(python_path, "w");
    ck_assert_int_gt(fprintf(f, "#!/bin/sh\nexec /usr/bin/python3 -S \"$@\"\n"), 0);
    ck_assert_int_eq(fchmod(fileno(f), 0755), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(setenv("PATH", path, 1), 0);
    setup();
}

static void plain_teardown(void)
{
    teardown();
    ck_assert_int_eq(unlink(python_path), 0);
    ck_assert_int_eq(rmdir(python_dir), 0);
}

static struct live_reply reply;

static const char *call(const char *method, const char *target, const char *headers,
                        const char *body)
{
    struct live_conn c = live_channel(CHANNEL_PORT_KERNEL);
    live_call(&c, method, target, headers, body, &reply);
    live_hang_up(&c);
    return reply.body;
}

static void wait_until_it_serves(void)
{
    ck_assert_str_eq(call("GET", "/health", "", ""), "\"OK\"");
}

static const char *run(const char *code, const char *more)
{
    char body[1024];
    (void)snprintf(body, sizeof body, "{\"code\":\"%s\"%s}", code, more);
    return call("POST", "/execute", "", body);
}

/* Run a cell that prints without end for a while. Return: the end of its answer. */
static const char *run_long(const char *code)
{
    struct live_conn c = live_channel(CHANNEL_PORT_KERNEL);
    char body[1024];
    size_t len = 0, half = sizeof reply.body / 2;
    ssize_t n;
    (void)snprintf(body, sizeof body, "{\"code\":\"%s\"}", code);
    live_request(&c, "POST", "/execute", "", body, strlen(body));
    live_read_head(&c, &reply);
    while ((n = live_read_chunked(&c, reply.body + len, sizeof reply.body - 1 - len)) > 0) {
        len += (size_t)n;
        if (len > half) {
            memmove(reply.body, reply.body + len - half / 2, half / 2);
            len = half / 2;
        }
    }
    ck_assert_int_eq(n, 0);
    reply.body[len] = '\0';
    live_hang_up(&c);
    return reply.body;
}

/* Begin a cell and wait until it says @word. */
static struct live_conn begin(const char *code, const char *more, const char *word)
{
    struct live_conn c = live_channel(CHANNEL_PORT_KERNEL);
    char body[1024], text[4096];
    (void)snprintf(body, sizeof body, "{\"code\":\"%s\"%s}", code, more);
    live_request(&c, "POST", "/execute", "", body, strlen(body));
    ck_assert(live_read_until(&c, word, text, sizeof text));
    return c;
}

/* A new context, as the member of a request. */
static void make_context(char *id, char *member, size_t cap)
{
    ck_assert(has(call("POST", "/contexts", "", "{\"cwd\":\"/tmp\"}"), "\"cwd\":\"/tmp\""));
    ck_assert_int_eq(sscanf(strstr(reply.body, "\"id\":\"") + 6, "%36s", id), 1);
    (void)snprintf(member, cap, ",\"context_id\":\"%s\"", id);
}

START_TEST(kernel_service_answers_each_route)
{
    static const struct {
        const char *method, *target, *body;
        unsigned status;
        const char *answer;
    } rows[] = {
        {"GET", "/health", "", 200, "\"OK\""},
        {"GET", "/health?source=test", "", 200, "\"OK\""},
        {"POST", "/health", "", 405, "Method Not Allowed"},
        {"GET", "/contexts", "", 200, "\"language\":\"javascript\",\"cwd\":"},
        {"PUT", "/contexts", "", 405, "Method Not Allowed"},
        {"POST", "/contexts", "{\"cwd\":\"/none\"}", 500, "Failed to set working directory"},
        {"POST", "/contexts", "{\"cwd\":1}", 422, "\"loc\":[\"body\",\"cwd\"]"},
        {"POST", "/contexts", "{\"language\":\"cobol\"}", 500, "Failed to create context: "},
        {"DELETE", "/contexts/nobody", "", 404, "Context nobody not found"},
        {"POST", "/contexts/nobody/restart", "", 404, "Context nobody not found"},
        {"GET", "/contexts/nobody", "", 405, "Method Not Allowed"},
        {"POST", "/execute", "{}", 422, "Field required"},
        {"POST", "/execute", "[", 422, "JSON decode error"},
        {"POST", "/execute", "{\"code\":\"1\",\"context_id\":\"nobody\"}", 404, "not found"},
        {"POST", "/execute", "{\"code\":\"1\",\"context_id\":\"a\",\"language\":\"b\"}", 400,
         "Only one of"},
        {"GET", "/", "", 404, "Not Found"},
        {"GET", "/contexts/../execute", "", 405, "Method Not Allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *answer = call(rows[i].method, rows[i].target, "", rows[i].body);
        ck_assert_msg(reply.status == rows[i].status && has(answer, rows[i].answer), "%s %s: %u %s",
                      rows[i].method, rows[i].target, reply.status, answer);
    }
}
END_TEST

START_TEST(kernel_service_keeps_state_between_cells)
{
    ck_assert(has(run("x = 20", ""), "{\"type\":\"end_of_execution\"}\n"));
    ck_assert_str_eq(run("x + 1", ""),
                     "{\"type\":\"number_of_executions\",\"execution_count\":2}\n"
                     "{\"type\":\"result\",\"is_main_result\":true,\"text\":\"21\",\"extra\":{}}\n"
                     "{\"type\":\"end_of_execution\"}\n");
    ck_assert(has(run("1 / 0", ""), "\"name\":\"ZeroDivisionError\""));
    ck_assert(has(run("import os; os.environ['A']", ",\"env_vars\":{\"A\":\"b\"}"), "\"b\""));
    ck_assert(has(run("'A' in os.environ", ""), "False"));
}
END_TEST

START_TEST(kernel_service_has_contexts_that_are_apart)
{
    char id[40], member[80], target[80];
    make_context(id, member, sizeof member);
    ck_assert(has(run("import os; y = 1; os.getcwd()", member), "\"/tmp\""));
    ck_assert(has(run("y", ""), "NameError"));
    (void)snprintf(target, sizeof target, "/contexts/%s/restart", id);
    ck_assert_str_eq(call("POST", target, "", ""), "null");
    ck_assert(has(run("y", member), "NameError"));
    (void)snprintf(target, sizeof target, "/contexts/%s", id);
    ck_assert_str_eq(call("DELETE", target, "", ""), "null");
    (void)run("1", member);
    ck_assert_uint_eq(reply.status, 404);
}
END_TEST

START_TEST(kernel_service_tells_of_a_kernel_that_died)
{
    ck_assert(has(run("import os; os._exit(3)", ""), "\"name\":\"ContextRestarting\""));
    ck_assert(has(reply.body, "exit status 3"));
    ck_assert(has(run("2 + 2", ""), "what earlier cells defined is gone"));
    ck_assert(has(reply.body, "\"text\":\"4\""));
    ck_assert(
        has(run("import os\\nfor f in range(3, 300):\\n  try: os.write(f, b'no frame\\\\n')\\n"
                "  except OSError: pass\\nimport time; time.sleep(60)",
                ""),
            "ContextRestarting"));
}
END_TEST

START_TEST(kernel_service_interrupts_a_cell_whose_client_went)
{
    struct live_conn c = begin("x = 5\\nprint('runs')\\nwhile True: x += 1", "", "runs");
    live_hang_up(&c);
    ck_assert(has(run("x > 5", ""), "\"text\":\"True\""));
}
END_TEST

START_TEST(kernel_service_interrupts_a_cell_whose_client_went_before_it_began)
{
    char id[40], member[80];
    make_context(id, member, sizeof member);
    struct live_conn c = begin("while True: pass", member, "200 OK"); /* the kernel still starts */
    live_hang_up(&c);
    ck_assert(has(run("1 + 1", member), "\"text\":\"2\""));
    ck_assert(!has(reply.body, "stderr")); /* it is the same kernel */
}
END_TEST

/* Wait until the process that wrote its id to @path waits itself. */
static void wait_until_it_sleeps(const char *path)
{
    char stat[64], state = 'R';
    int pid = 0;
    while (state != 'S') {
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%d", &pid) == 1) {
            (void)snprintf(stat, sizeof stat, "/proc/%d/stat", pid);
            (void)fclose(f);
            f = fopen(stat, "r");
            ck_assert_int_eq(fscanf(f, "%*d (python3) %c", &state), 1);
        }
        if (f)
            (void)fclose(f);
        sched_yield();
    }
}

START_TEST(kernel_service_keeps_the_kernel_of_a_client_that_went_at_the_end)
{
    static const char code[] = "import os; y = 5; print('x' * 560000)\\n"
                               "with open('/tmp/%s', 'w') as f: print(os.getpid(), file=f)\\n"
                               "raise Exception('y' * 500000)";
    char id[40], member[80], path[64], cell[512];
    make_context(id, member, sizeof member);
    (void)snprintf(cell, sizeof cell, code, id);
    (void)snprintf(path, sizeof path, "/tmp/%s", id);
    struct live_conn c = begin(cell, member, "200 OK"); /* the rest is not read */
    wait_until_it_sleeps(path);
    live_hang_up(&c);
    ck_assert(has(run("y", member), "\"text\":\"5\""));
    (void)unlink(path);
}
END_TEST

START_TEST(kernel_service_lets_the_handlers_of_a_cell_break_no_frame)
{
    static const char cell[] = "import signal\\n"
                               "def late(*_): raise TimeoutError\\n"
                               "signal.signal(signal.SIGALRM, late)\\n"
                               "for i in range(4):\\n"
                               "  try:\\n"
                               "    signal.setitimer(signal.ITIMER_REAL, 0.003)\\n"
                               "    while True: print('o', flush=True)\\n"
                               "  except TimeoutError: pass\\n"
                               "kept = 7; signal.getsignal(signal.SIGALRM) is late";
    static const char between[] = "import threading\\n"
                                  "def tell(at):\\n"
                                  "  signal.pthread_kill(at, signal.SIGALRM)\\n"
                                  "  open('%s/told', 'w').close()\\n"
                                  "at = threading.get_ident()\\n"
                                  "t = threading.Timer(0.1, tell, (at,)); t.start()";
    char cell_between[512], path[80];
    ck_assert(has(run_long(cell), "\"text\":\"True\""));
    (void)run("signal.raise_signal(signal.SIGALRM)", "");
    ck_assert(has(reply.body, "\"name\":\"TimeoutError\""));
    (void)snprintf(cell_between, sizeof cell_between, between, python_dir);
    (void)run(cell_between, "");
    (void)snprintf(path, sizeof path, "%s/told", python_dir);
    while (access(path, F_OK) != 0)
        sched_yield();
    ck_assert_msg(has(run("t.join(); kept", ""), "\"text\":\"7\""), "%s", reply.body);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(kernel_service_ends_the_cells_of_a_context_that_is_removed)
{
    char id[40], member[80], target[80], text[4096];
    make_context(id, member, sizeof member);
    struct live_conn c = begin("print('runs')\\nwhile True: pass", member, "runs");
    struct live_conn waiting = begin("1", member, "200 OK");
    (void)snprintf(target, sizeof target, "/contexts/%s", id);
    ck_assert_str_eq(call("DELETE", target, "", ""), "null");
    ck_assert(live_read_until(&c, "end_of_execution", text, sizeof text));
    ck_assert(has(text, "UnexpectedEndOfExecution"));
    ck_assert(live_read_until(&waiting, "end_of_execution", text, sizeof text));
    ck_assert(has(text, "UnexpectedEndOfExecution"));
    live_hang_up(&waiting);
    live_hang_up(&c);
}
END_TEST

START_TEST(kernel_service_stops_with_cells_that_run_and_wait)
{
    struct live_conn c = begin("print('runs')\\nwhile True: pass", "", "runs");
    struct live_conn waiting = begin("1", "", "200 OK");
    struct live_conn stuck = begin("while :; do echo runs; done", ",\"language\":\"bash\"", "runs");
    teardown();
    ck_assert(live_is_at_end(&waiting) || waiting.end > waiting.start);
    live_hang_up(&stuck);
    live_hang_up(&waiting);
    live_hang_up(&c);
    setup();
    wait_until_it_serves(); /* else it cannot be stopped */
}
END_TEST

START_TEST(kernel_service_wants_the_token_for_code)
{
    wait_until_it_serves(); /* else it cannot be stopped */
    teardown();
    live_start_in(0, "secret");
    (void)run("1", "");
    ck_assert_uint_eq(reply.status, 401);
    ck_assert(has(call("POST", "/execute", "X-Access-Token: secret\r\n", "{\"code\":\"1 + 1\"}"),
                  "\"text\":\"2\""));
    (void)call("GET", "/contexts", "", "");
    ck_assert_uint_eq(reply.status, 200);
}
END_TEST

START_TEST(kernel_service_refuses_too_many_contexts)
{
    for (int i = 0; i < 64; i++)
        (void)call("POST", "/contexts", "", "{\"language\":\"bash\"}");
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "more than 64 contexts"));
}
END_TEST

SUITE_MAIN_WITH("kernel_service", .fixtures = {{plain_setup, plain_teardown}},
                TESTS(kernel_service_answers_each_route, kernel_service_keeps_state_between_cells,
                      kernel_service_has_contexts_that_are_apart,
                      kernel_service_tells_of_a_kernel_that_died,
                      kernel_service_interrupts_a_cell_whose_client_went,
                      kernel_service_interrupts_a_cell_whose_client_went_before_it_began,
                      kernel_service_keeps_the_kernel_of_a_client_that_went_at_the_end,
                      kernel_service_lets_the_handlers_of_a_cell_break_no_frame,
                      kernel_service_ends_the_cells_of_a_context_that_is_removed,
                      kernel_service_stops_with_cells_that_run_and_wait,
                      kernel_service_wants_the_token_for_code,
                      kernel_service_refuses_too_many_contexts))
