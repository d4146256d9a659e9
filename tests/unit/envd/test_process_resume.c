/* SPDX-License-Identifier: Apache-2.0 */
/* Readers that come back to a process and say how much of its output they have. */
#include "live_process.h"

/* What a reader that counts has seen. Each byte of output is known from its position. */
struct count {
    uint32_t pid;
    uint64_t at, gaps, lost;
    bool has_end;
    char end[1024];
};

/* 1,000 bytes of a digit, then of the next one. */
#define WRITER(cnt)                                                                                \
    "read x; exec python3 -c 'import os\n"                                                         \
    "for i in range(" #cnt "): os.write(1, b\"%d\" % (i % 10) * 1000)'"

static bool step(struct live_conn *c, struct count *n)
{
    Process__StartResponse *m = live_next(c, n->end);
    if (!m)
        return false;
    const Process__ProcessEvent *e = m->event;
    ck_assert(!n->has_end);
    if (e->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA) {
        for (size_t i = 0; i < e->data->stdout.len; i++, n->at++)
            if (e->data->stdout.data[i] != '0' + (int)(n->at / 1000 % 10))
                ck_abort_msg("another byte at %llu", (unsigned long long)n->at);
    } else if (e->event_case == PROCESS__PROCESS_EVENT__EVENT_GAP) {
        n->gaps++;
        n->lost += e->gap->bytes;
        n->at += e->gap->bytes;
    } else if (e->event_case == PROCESS__PROCESS_EVENT__EVENT_START) {
        n->pid = e->start->pid;
    } else if (e->event_case == PROCESS__PROCESS_EVENT__EVENT_END) {
        n->has_end = true;
    }
    process__start_response__free_unpacked(m, NULL);
    return true;
}

static struct live_conn come_back(uint32_t pid, const char *offset)
{
    Process__ProcessSelector selector;
    Process__ConnectRequest m;
    char headers[128];
    live_selector(&selector, pid);
    process__connect_request__init(&m);
    m.process = &selector;
    (void)snprintf(headers, sizeof headers, "Adit-Output-Offset: %s\r\n", offset);
    return live_stream("Connect", headers, &m.base);
}

static struct live_conn come_back_at(uint32_t pid, uint64_t offset)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)offset);
    return come_back(pid, text);
}

/* Start @command, which waits for a line; its first event is taken. */
static struct live_conn begin(const char *command, struct count *n)
{
    struct live_shell s;
    memset(n, 0, sizeof *n);
    live_shell_init(&s, command);
    s.request.stdin = true;
    struct live_conn c = live_shell_start(&s, "");
    ck_assert(step(&c, n));
    return c;
}

static void go(uint32_t pid)
{
    struct live_reply reply;
    send_input(pid, false, "go\n", &reply);
    ck_assert_uint_eq(reply.status, 200);
}

static void finish(struct live_conn *c, struct count *n)
{
    while (step(c, n))
        continue;
    live_hang_up(c);
}

static void await_end(void)
{
    while (list_cnt() > 0)
        (void)poll(NULL, 0, 10);
}

START_TEST(process_reader_that_comes_back_misses_nothing)
{
    struct count n;
    struct live_conn c = begin(WRITER(20000), &n);
    go(n.pid);
    for (int i = 0; i < 50; i++) {
        for (uint64_t until = n.at + 300000; n.at < until && step(&c, &n);)
            continue;
        if (n.has_end)
            break;
        live_hang_up(&c);
        c = come_back_at(n.pid, n.at);
    }
    finish(&c, &n);
    ck_assert(n.has_end);
    ck_assert_uint_eq(n.at, 20000000);
    /* While it was away the program wrote on; what did not fit is told, byte for byte. */
    ck_assert_uint_lt(n.lost, n.at);
}
END_TEST

START_TEST(process_output_that_nobody_read_is_kept_and_its_gap_is_exact)
{
    struct count n, late = {0}, middle = {.at = 4500000};
    struct live_conn c = begin(WRITER(5000), &n);
    live_hang_up(&c);
    go(n.pid);
    await_end();
    c = come_back_at(n.pid, 0);
    finish(&c, &late);
    ck_assert(late.has_end);
    ck_assert_uint_eq(late.at, 5000000);
    ck_assert_uint_eq(late.gaps, 1);
    ck_assert_uint_le(late.lost, 4000000);
    c = come_back_at(n.pid, middle.at);
    finish(&c, &middle);
    ck_assert_uint_eq(middle.gaps, 0);
    ck_assert_uint_eq(middle.at, 5000000);
    c = connect_pid(n.pid);
    memset(&late, 0, sizeof late);
    finish(&c, &late);
    ck_assert_msg(late.has_end && late.at == 0, "who does not ask gets what comes");
}
END_TEST

START_TEST(process_reader_that_catches_up_beside_a_quick_one_is_told_of_gaps)
{
    struct count n, slow = {0};
    struct live_conn c = begin("read y;" WRITER(20000), &n);
    go(n.pid);
    struct live_conn d = come_back_at(n.pid, 0);
    ck_assert(step(&d, &slow));
    go(n.pid);
    finish(&c, &n);
    ck_assert_uint_eq(n.at, 20000000);
    ck_assert_uint_eq(n.gaps, 0);
    /* It had caught up with nothing, so it is a reader like any other until it is too slow. */
    while (step(&d, &slow))
        continue;
    live_hang_up(&d);
    ck_assert_msg(has(slow.end, "resource_exhausted"), "%s", slow.end);
    d = come_back_at(n.pid, slow.at);
    finish(&d, &slow);
    ck_assert(slow.has_end);
    ck_assert_uint_eq(slow.at, 20000000);
    ck_assert_uint_eq(slow.gaps, 1);
}
END_TEST

START_TEST(process_reader_with_a_wrong_offset_is_refused)
{
    static const char *const wrong[] = {"-1", "1x", "", "99999999999999999999", "1"};
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "sleep 30");
    struct live_conn c = start(&s, "", &r);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct live_run got = {0};
        struct live_conn d = come_back(r.pid, wrong[i]);
        live_finish(&d, &got);
        ck_assert_uint_eq(got.pid, 0);
        ck_assert_msg(has(got.end, "invalid_argument") && has(got.end, "Adit-Output-Offset"), "%s",
                      got.end);
    }
    live_hang_up(&c);
    memset(&r, 0, sizeof r);
    live_sh("true", "Adit-Output-Offset: 0\r\n", &r);
    ck_assert_uint_eq(r.pid, 0);
    ck_assert_msg(has(r.end, "Connect only"), "%s", r.end);
}
END_TEST

SUITE_MAIN_WITH("process_resume", .fixtures = {{setup, teardown}},
                TESTS(process_reader_that_comes_back_misses_nothing,
                      process_output_that_nobody_read_is_kept_and_its_gap_is_exact,
                      process_reader_that_catches_up_beside_a_quick_one_is_told_of_gaps,
                      process_reader_with_a_wrong_offset_is_refused))
