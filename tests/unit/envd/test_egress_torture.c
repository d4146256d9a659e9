/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation that a connection or a name makes fails once, in one envd that goes on living.
 * What comes of it is its own affair: a refusal, a broken channel, or nothing. The next one works,
 * and in the end envd holds as many blocks of memory as before.
 */
#include "egress_broker.h"
#include "live_failures.h"

#if FAILING_MALLOC

/* More allocations than one scenario makes; the test asserts it. */
#define FAILURES_MAX 300
/* What has not come by then, after an allocation has failed, will not come. */
#define PATIENCE_MS 200

/* Sockets of a scenario: control, accept, program; -1 while there is none. */
enum { CONTROL, ACCEPT, PROGRAM, SOCKETS };
static int fds[SOCKETS];
static struct frame_reader reader;

/* Failures before this scenario. */
static long fired_before;

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (int waited_ms = 0; waited_ms < LIVE_WAIT_MS; waited_ms += PATIENCE_MS) {
        bool has_failed = live_failures->fired != fired_before;
        if (poll(&p, 1, PATIENCE_MS) == 1)
            return true;
        if (has_failed)
            return false;
    }
    return false;
}

static bool hear(int fd, char *out, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = wait_for(fd, POLLIN) ? recv(fd, out + got, len - got, 0) : 0;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static bool say(int fd, const void *p, size_t len)
{
    return send(fd, p, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool open_channel(int which, unsigned port)
{
    char line[CHANNEL_LINE_CAP], answer[CHANNEL_LINE_CAP];
    struct live_conn c = live_dial();
    fds[which] = c.fd;
    free(c.buf);
    return say(c.fd, line, channel_format_connect(line, port)) &&
           hear(c.fd, answer, channel_format_ok(line, port)) &&
           memcmp(answer, line, channel_format_ok(line, port)) == 0;
}

/* The guest's next frame; NULL when none comes. */
static Control__GuestFrame *next_frame(void)
{
    Control__GuestFrame *f = NULL;
    char byte;
    while (!f && hear(fds[CONTROL], &byte, 1)) {
        struct adit_view in = adit_view_mem(&byte, 1);
        ck_assert_int_eq(control_read_guest(&reader, &in, &f, NULL), ADIT_OK);
    }
    return f;
}

/* Each scenario's own: what an earlier one left is told by them. */
static uint16_t port = 1000;
static char label[] = "name000";
static char name[sizeof label + 4];

static void next_scenario(void)
{
    port++;
    (void)snprintf(label, sizeof label, "name%03u", port % 1000u);
    (void)snprintf(name, sizeof name, "%s.com", label);
}

/* A dial or a look-up of an earlier scenario, which has given it up. */
static bool is_old(const Control__GuestFrame *f)
{
    return (f->body_case == CONTROL__GUEST_FRAME__BODY_DIAL && f->dial->port != port) ||
           (f->body_case == CONTROL__GUEST_FRAME__BODY_LOOKUP &&
            strcmp(f->lookup->name, name) != 0);
}

static void refuse(const Control__GuestFrame *f)
{
    struct broker b = {.control.fd = fds[CONTROL]};
    if (f->body_case == CONTROL__GUEST_FRAME__BODY_DIAL)
        broker_refuse(&b, f->dial->id, CONTROL__REASON__REASON_REFUSED);
    else
        broker_tell(&b, f->lookup->id, 0, f->lookup->name, 1, 0);
}

/* The next frame but for old ones is of this kind. *id: that of the dial or look-up. */
static bool next_is(Control__GuestFrame__BodyCase kind, uint32_t *id)
{
    Control__GuestFrame *f;
    while ((f = next_frame()) && is_old(f)) {
        refuse(f);
        control__guest_frame__free_unpacked(f, NULL);
    }
    bool is_it = f && f->body_case == kind;
    if (is_it && id)
        *id = kind == CONTROL__GUEST_FRAME__BODY_DIAL ? f->dial->id : f->lookup->id;
    if (f)
        control__guest_frame__free_unpacked(f, NULL);
    return is_it;
}

static bool open_control(void)
{
    static const char hello[] = {0, 0, 0, 0, 2, 0x0a, 0}; /* no IPv6: one look-up for a name */
    return open_channel(CONTROL, CHANNEL_PORT_CONTROL) && say(fds[CONTROL], hello, sizeof hello) &&
           next_is(CONTROL__GUEST_FRAME__BODY_HELLO, NULL);
}

/* ---- scenarios ---- */

static bool is_connected(void)
{
    int failed = 1;
    socklen_t len = sizeof failed;
    return wait_for(fds[PROGRAM], POLLOUT) &&
           getsockopt(fds[PROGRAM], SOL_SOCKET, SO_ERROR, &failed, &len) == 0 && failed == 0;
}

/* The dial to this scenario's port comes, and gets its channel. */
static bool grant(void)
{
    char line[16];
    uint32_t id;
    if (!next_is(CONTROL__GUEST_FRAME__BODY_DIAL, &id) ||
        !open_channel(ACCEPT, CHANNEL_PORT_ACCEPT))
        return false;
    size_t len = (size_t)snprintf(line, sizeof line, "%u\n", id);
    return say(fds[ACCEPT], line, len) && hear(fds[ACCEPT], line, 3);
}

static bool connection(void)
{
    char byte;
    fds[PROGRAM] = program_dial("93.184.216.34", port);
    return grant() && is_connected() && say(fds[PROGRAM], "x", 1) && hear(fds[ACCEPT], &byte, 1);
}

/* Behind two bytes of its length, as over TCP. */
#define QUERY_LEN 31
static bool ask_name(size_t skipped)
{
    char query[QUERY_LEN + 1] = "\0\x1d\0\7\1\0\0\1\0\0\0\0\0\0\7.......\3com\0\0\1\0\1";
    memcpy(query + 15, label, sizeof label - 1);
    return say(fds[PROGRAM], query + skipped, QUERY_LEN - skipped);
}

/* Answer a look-up with one address. */
static bool tell_address(void)
{
    uint32_t id = 0;
    if (!next_is(CONTROL__GUEST_FRAME__BODY_LOOKUP, &id))
        return false;
    broker_tell(&(struct broker){.control.fd = fds[CONTROL]}, id, 0, name, 1, 0);
    return true;
}

static bool name_over_udp(void)
{
    char answer[512];
    int failed;
    fds[PROGRAM] = space_connect("8.8.8.8", 53, SOCK_DGRAM, &failed);
    return ask_name(2) && tell_address() && hear(fds[PROGRAM], answer, 1);
}

static bool name_over_tcp(void)
{
    char answer[2 + 29 + 16];
    int failed;
    fds[PROGRAM] = space_connect("8.8.8.8", 53, SOCK_STREAM, &failed);
    return failed == 0 && ask_name(0) && tell_address() &&
           hear(fds[PROGRAM], answer, sizeof answer);
}

/* To the proxies: for this scenario's name and port, between the two. */
static bool ask_proxy(const char *before, const char *after)
{
    char text[128];
    int failed;
    size_t len =
        (size_t)snprintf(text, sizeof text, "%s%s:%u%s", before, name, (unsigned)port, after);
    fds[PROGRAM] = space_connect("127.0.0.1", program_proxy_port(), SOCK_STREAM, &failed);
    return failed == 0 && say(fds[PROGRAM], text, len);
}

static bool tunnel(void)
{
    char answer[39], byte;
    return ask_proxy("CONNECT ", " HTTP/1.1\r\n\r\n") && tell_address() && grant() &&
           hear(fds[PROGRAM], answer, sizeof answer) && say(fds[PROGRAM], "x", 1) &&
           hear(fds[ACCEPT], &byte, 1);
}

static bool forwarded(void)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 1\r\n\r\nx";
    char byte, status[15];
    return ask_proxy("GET http://", "/ HTTP/1.1\r\nHost: x\r\n\r\n") && tell_address() && grant() &&
           hear(fds[ACCEPT], &byte, 1) && say(fds[ACCEPT], reply, sizeof reply - 1) &&
           hear(fds[PROGRAM], status, sizeof status) && memcmp(status, reply, sizeof status) == 0;
}

static const struct {
    enum egress_mode mode;
    bool (*run)(void);
} scenarios[] = {{EGRESS_TRANSPARENT, connection},
                 {EGRESS_TRANSPARENT, name_over_udp},
                 {EGRESS_TRANSPARENT, name_over_tcp},
                 {EGRESS_PROXY, tunnel},
                 {EGRESS_PROXY, forwarded}};

/* From a control channel on. Return: whether all went well. */
static bool run(bool (*scenario)(void))
{
    fired_before = live_failures->fired;
    next_scenario();
    frame_reader_init(&reader, CONTROL_FRAME_MAX);
    for (int i = 0; i < SOCKETS; i++)
        fds[i] = -1;
    bool is_well = open_control() && scenario();
    for (int i = 0; i < SOCKETS; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    frame_reader_fini(&reader);
    return is_well;
}

START_TEST(egress_survives_every_failed_allocation)
{
    long n = 0, fired;
    egress_start(scenarios[_i].mode);
    ck_assert(
        run(scenarios[_i].run)); /* also makes what is made once, and envd hears signals now */
    ck_assert(run(scenarios[_i].run));
    long before = live_fail_nth(0);
    do {
        fired = live_failures->fired;
        (void)live_fail_nth(++n);
        bool is_well = run(scenarios[_i].run);
        (void)live_fail_nth(0);
        ck_assert(is_well || live_failures->fired != fired);
        ck_assert_msg(run(scenarios[_i].run), "after failure %ld", n);
        ck_assert_int_lt(n, FAILURES_MAX);
    } while (live_failures->fired != fired);
    ck_assert_int_gt(n, 3);
    live_expect_blocks(before);
}
END_TEST

static void setup(void)
{
    live_failures_share();
}

static void teardown(void)
{
    live_stop();
}

SUITE_MAIN_WITH("egress_torture", .fixtures = {{setup, teardown}},
                LOOPS({egress_survives_every_failed_allocation,
                       sizeof(scenarios) / sizeof(scenarios[0])}))

#else

int main(void)
{
    suite_skip("test_egress_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
