/* SPDX-License-Identifier: Apache-2.0 */
/* process.Process over a real server: much output, slow readers, input, terminals. */
#include "live_process.h"

#include <time.h>

/* ---- much output ---- */

/* Read @c to its end; each 4-byte word of stdout is its own index. Return: bytes. */
static uint64_t read_counted(struct live_conn *c, uint64_t pause_at)
{
    uint64_t total = 0;
    uint8_t word[4];
    char end[1024];
    Process__StartResponse *m;
    while ((m = live_next(c, end))) {
        const Process__ProcessEvent *e = m->event;
        size_t len = e->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA ? e->data->stdout.len : 0;
        for (size_t i = 0; i < len; i++, total++) {
            word[total % 4] = e->data->stdout.data[i];
            if (total % 4 != 3)
                continue;
            uint32_t n = (uint32_t)word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 |
                         (uint32_t)word[3] << 24;
            if (n != total / 4)
                ck_abort_msg("word %u where %u belongs", n, (uint32_t)(total / 4));
        }
        process__start_response__free_unpacked(m, NULL);
        if (pause_at > 0 && total > pause_at) {
            (void)poll(NULL, 0, 300);
            pause_at = 0;
        }
    }
    ck_assert_str_eq(end, "{}");
    return total;
}

static const char counting[] =
    "exec python3 -c 'import sys,array\n"
    "for b in range(0, 25000000, 500000): sys.stdout.buffer.write(array.array(\"I\", range(b, "
    "b+500000)).tobytes())'";

START_TEST(process_output_of_100_megabytes_is_whole_and_in_order)
{
    struct live_shell s;
    live_shell_init(&s, counting);
    struct live_conn c = live_shell_start(&s, "");
    ck_assert_uint_eq(read_counted(&c, 20000000), 100000000);
    live_hang_up(&c);
}
END_TEST

static size_t rss_kib(void)
{
    char path[64], line[256];
    size_t kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)live_pid);
    FILE *f = fopen(path, "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %zu", &kib) == 1)
            break;
    (void)fclose(f);
    return kib;
}

START_TEST(process_single_slow_reader_holds_the_process_back_in_little_memory)
{
    struct live_shell s;
    struct live_run r;
    live_sh("head -c 60000 /dev/zero", "", &r);
    size_t before = rss_kib();
    live_shell_init(&s, counting);
    struct live_conn c = live_shell_start(&s, "");
    (void)poll(NULL, 0, 500);
    ck_assert_uint_lt(rss_kib(), before + 4096);
    ck_assert_uint_eq(list_cnt(), 1);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_slow_reader_beside_a_quick_one_is_ended_and_harms_nobody)
{
    struct live_shell s;
    struct live_run r, slow = {0};
    struct live_reply reply;
    live_shell_init(&s, "read x; head -c 20000000 /dev/zero; echo");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    struct live_conn d = connect_pid(r.pid);
    ck_assert(live_step(&d, &slow));
    send_input(r.pid, false, "go\n", &reply);
    uint64_t total = 0;
    char end[1024];
    Process__StartResponse *m;
    while ((m = live_next(&c, end))) {
        if (m->event->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA)
            total += m->event->data->stdout.len;
        process__start_response__free_unpacked(m, NULL);
    }
    ck_assert_uint_eq(total, 20000001);
    total = 0;
    while ((m = live_next(&d, end))) {
        if (m->event->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA)
            total += m->event->data->stdout.len;
        process__start_response__free_unpacked(m, NULL);
    }
    ck_assert_msg(has(end, "resource_exhausted"), "%s", end);
    ck_assert_uint_gt(total, SUBSCRIBER_LAG_MAX);
    ck_assert_uint_lt(total, 4 * SUBSCRIBER_LAG_MAX);
    live_hang_up(&c);
    live_hang_up(&d);
}
END_TEST

START_TEST(process_without_readers_is_never_blocked)
{
    struct live_shell s;
    struct live_run r, late = {0};
    live_shell_init(&s, "read x; head -c 5000000 /dev/zero; exit 4");
    s.request.stdin = true;
    struct live_reply reply;
    struct live_conn c = start(&s, "", &r);
    live_hang_up(&c);
    send_input(r.pid, false, "go\n", &reply);
    while (list_cnt() > 0)
        (void)poll(NULL, 0, 10);
    struct live_conn d = connect_pid(r.pid);
    live_finish(&d, &late);
    ck_assert_int_eq(late.exit_code, 4);
}
END_TEST

/* ---- input ---- */

START_TEST(process_input_arrives_in_order_and_end_of_file_ends_it)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    send_input(r.pid, false, "one ", &reply);
    ck_assert_uint_eq(reply.status, 200);
    send_input(r.pid, false, "", &reply);
    ck_assert_uint_eq(reply.status, 200);
    send_input(r.pid, false, "two", &reply);
    for (int i = 0; i < 2; i++) {
        close_stdin(r.pid, &reply);
        ck_assert_uint_eq(reply.status, i == 0 ? 200 : reply.status);
    }
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "one two");
    ck_assert_int_eq(r.exit_code, 0);
}
END_TEST

START_TEST(process_close_stdin_is_idempotent_and_later_input_is_refused)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat; sleep 30");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    for (int i = 0; i < 2; i++) {
        close_stdin(r.pid, &reply);
        ck_assert_uint_eq(reply.status, 200);
    }
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert_msg(has(reply.body, "\"internal\"") &&
                      has(reply.body, "error writing to stdin: stdin not enabled or closed"),
                  "%s", reply.body);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_without_stdin_refuses_input)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat; sleep 30");
    struct live_conn c = start(&s, "", &r);
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to stdin: stdin not enabled or closed"));
    send_input(r.pid, true, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to tty: tty not assigned to process"));
    live_hang_up(&c);
}
END_TEST

START_TEST(process_input_is_answered_only_when_the_process_took_it)
{
    struct live_shell s;
    struct live_run r;
    size_t len = 1000000;
    char *text = malloc(len + 1);
    live_shell_init(&s, "sleep 0.3; exec wc -c");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    memset(text, 'x', len);
    text[len] = '\0';
    struct live_reply reply;
    struct timespec before, after;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    send_input(r.pid, false, text, &reply);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_int_ge(
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 100);
    close_stdin(r.pid, &reply);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "1000000\n");
    free(text);
}
END_TEST

START_TEST(process_that_dies_fails_the_input_it_did_not_take)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    size_t len = 1000000;
    char *text = malloc(len + 1);
    live_shell_init(&s, "sleep 0.2");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    memset(text, 'x', len);
    text[len] = '\0';
    send_input(r.pid, false, text, &reply);
    ck_assert_uint_eq(reply.status, 500);
    live_finish(&c, &r);
    free(text);
}
END_TEST

static void send_chunk(struct live_conn *c, const ProtobufCMessage *m)
{
    char line[32];
    size_t len = protobuf_c_message_get_packed_size(m) + 5;
    live_send(c, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", len));
    live_send_envelope(c, m);
    live_send(c, "\r\n", 2);
}

static struct live_conn open_stream_input(void)
{
    static const char head[] = "POST /process.Process/StreamInput HTTP/1.1\r\nHost: envd\r\n"
                               "Transfer-Encoding: chunked\r\n"
                               "Content-Type: application/connect+proto\r\n\r\n";
    struct live_conn c = live_http();
    live_send(&c, head, sizeof head - 1);
    return c;
}

static void send_begin(struct live_conn *c, uint32_t pid)
{
    Process__ProcessSelector selector;
    Process__StreamInputRequest m;
    Process__StreamInputRequest__StartEvent begin;
    live_selector(&selector, pid);
    process__stream_input_request__init(&m);
    process__stream_input_request__start_event__init(&begin);
    begin.process = &selector;
    m.event_case = PROCESS__STREAM_INPUT_REQUEST__EVENT_START;
    m.start = &begin;
    send_chunk(c, &m.base);
}

static void send_data(struct live_conn *c, uint8_t *bytes, size_t len)
{
    Process__StreamInputRequest m;
    Process__StreamInputRequest__DataEvent data;
    Process__ProcessInput input;
    process__stream_input_request__init(&m);
    process__stream_input_request__data_event__init(&data);
    process__process_input__init(&input);
    input.input_case = PROCESS__PROCESS_INPUT__INPUT_STDIN;
    input.stdin.data = bytes;
    input.stdin.len = len;
    data.input = &input;
    m.event_case = PROCESS__STREAM_INPUT_REQUEST__EVENT_DATA;
    m.data = &data;
    send_chunk(c, &m.base);
}

static void send_keepalive(struct live_conn *c)
{
    Process__StreamInputRequest m;
    Process__StreamInputRequest__KeepAlive keepalive;
    process__stream_input_request__init(&m);
    process__stream_input_request__keep_alive__init(&keepalive);
    m.event_case = PROCESS__STREAM_INPUT_REQUEST__EVENT_KEEPALIVE;
    m.keepalive = &keepalive;
    send_chunk(c, &m.base);
}

START_TEST(process_stream_input_feeds_a_process)
{
    static uint8_t bytes[100000];
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "sleep 0.2; head -c 2000000 | wc -c");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r), in = open_stream_input();
    send_begin(&in, r.pid);
    for (int i = 0; i < 20; i++) {
        send_data(&in, bytes, sizeof bytes);
        send_keepalive(&in);
    }
    live_send(&in, "0\r\n\r\n", 5);
    live_read_reply(&in, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_uint_eq(reply.body_len, 5 + 5 + 2);
    ck_assert_str_eq(reply.body + 10, "{}");
    live_hang_up(&in);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "2000000\n");
}
END_TEST

START_TEST(process_stream_input_refuses_what_is_out_of_order)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    uint8_t byte = 'x';
    live_shell_init(&s, "cat");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r), in = open_stream_input();
    send_data(&in, &byte, 1);
    live_read_reply(&in, &reply);
    ck_assert_ptr_nonnull(memmem(reply.body, reply.body_len, "invalid_argument", 16));
    live_hang_up(&in);
    in = open_stream_input();
    send_begin(&in, r.pid);
    send_begin(&in, r.pid);
    live_read_reply(&in, &reply);
    ck_assert_ptr_nonnull(memmem(reply.body, reply.body_len, "invalid_argument", 16));
    live_hang_up(&in);
    in = open_stream_input();
    send_begin(&in, 999999999);
    live_read_reply(&in, &reply);
    ck_assert_ptr_nonnull(memmem(reply.body, reply.body_len, "not_found", 9));
    live_hang_up(&in);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_stream_input_that_breaks_off_leaves_the_process_alone)
{
    static uint8_t bytes[300000];
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "sleep 0.3; exec head -c 300000 | wc -c");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r), in = open_stream_input();
    send_begin(&in, r.pid);
    send_data(&in, bytes, sizeof bytes);
    (void)poll(NULL, 0, 100);
    live_hang_up(&in);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "300000\n");
}
END_TEST

/* ---- terminals ---- */

static struct live_conn start_pty(const char *command, struct live_run *r)
{
    static Process__PTY pty;
    static Process__PTY__Size size;
    struct live_shell s;
    process__pty__init(&pty);
    process__pty__size__init(&size);
    size.cols = 91;
    size.rows = 37;
    pty.size = &size;
    live_shell_init(&s, command);
    s.request.has_pty_case = PROCESS__START_REQUEST__HAS_PTY_PTY;
    s.request.pty = &pty;
    return start(&s, "", r);
}

START_TEST(process_terminal_has_its_size_and_is_controlling)
{
    struct live_run r;
    struct live_conn c =
        start_pty("stty size; echo there > /dev/tty; tty | cut -c 1-9; exit 6", &r);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[2], "37 91\r\nthere\r\n/dev/pts/\r\n");
    ck_assert_uint_eq(r.len[0] + r.len[1], 0);
    ck_assert_int_eq(r.exit_code, 6);
}
END_TEST

START_TEST(process_terminal_is_resized)
{
    struct live_run r;
    struct live_reply reply;
    Process__ProcessSelector selector;
    Process__UpdateRequest m;
    Process__PTY pty;
    Process__PTY__Size size;
    struct live_conn c =
        start_pty("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", &r);
    live_await(&c, &r, 2, "ready");
    live_selector(&selector, r.pid);
    process__update_request__init(&m);
    process__pty__init(&pty);
    process__pty__size__init(&size);
    size.cols = 100;
    size.rows = 70000;
    pty.size = &size;
    m.process = &selector;
    m.has_pty_case = PROCESS__UPDATE_REQUEST__HAS_PTY_PTY;
    m.pty = &pty;
    live_unary("Update", &m.base, &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_finish(&c, &r);
    ck_assert(has(r.out[2], "65535 100"));
}
END_TEST

START_TEST(process_terminal_takes_input_and_refuses_stdin)
{
    struct live_run r;
    struct live_reply reply;
    struct live_conn c = start_pty("stty -echo; echo ready; read x; echo got $x; cat", &r);
    live_await(&c, &r, 2, "ready");
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to stdin: tty assigned to process — input should be "
                              "written to the pty, not the stdin"));
    close_stdin(r.pid, &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "\"unknown\"") &&
              has(reply.body, "error closing stdin: cannot close stdin for PTY process — send "
                              "Ctrl+D (0x04) instead"));
    send_input(r.pid, true, "hello\n", &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_await(&c, &r, 2, "got hello");
    send_input(r.pid, true, "\004", &reply);
    live_finish(&c, &r);
    ck_assert_int_eq(r.exit_code, 0);
}
END_TEST

START_TEST(process_without_terminal_cannot_be_resized)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    char body[128];
    live_shell_init(&s, "sleep 30");
    struct live_conn c = start(&s, "", &r), u = live_http();
    (void)snprintf(body, sizeof body, "{\"process\":{\"pid\":%u},\"pty\":{\"size\":{\"cols\":1}}}",
                   r.pid);
    live_call(&u, "POST", "/process.Process/Update", "Content-Type: application/json\r\n", body,
              &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error resizing tty: tty not assigned to process"));
    live_hang_up(&c);
    live_hang_up(&u);
}
END_TEST

SUITE_MAIN_WITH("process_io", .fixtures = {{setup, teardown}},
                TESTS(process_output_of_100_megabytes_is_whole_and_in_order,
                      process_single_slow_reader_holds_the_process_back_in_little_memory,
                      process_slow_reader_beside_a_quick_one_is_ended_and_harms_nobody,
                      process_without_readers_is_never_blocked,
                      process_input_arrives_in_order_and_end_of_file_ends_it,
                      process_close_stdin_is_idempotent_and_later_input_is_refused,
                      process_without_stdin_refuses_input,
                      process_input_is_answered_only_when_the_process_took_it,
                      process_that_dies_fails_the_input_it_did_not_take,
                      process_stream_input_feeds_a_process,
                      process_stream_input_refuses_what_is_out_of_order,
                      process_stream_input_that_breaks_off_leaves_the_process_alone,
                      process_terminal_has_its_size_and_is_controlling, process_terminal_is_resized,
                      process_terminal_takes_input_and_refuses_stdin,
                      process_without_terminal_cannot_be_resized))
