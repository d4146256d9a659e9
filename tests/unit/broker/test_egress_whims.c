/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest and destinations that do any of what they can at any time: the host goes on, and holds
 * nothing when they are gone. The sequences are made from the seed that a failure names.
 */
#include "egress_guest.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <time.h>

#define STEPS 4000
#define SEEDS 4
#define ENDS_MAX 256
#define IDS 40
#define LOOPBACK "{\"allowOut\":[\"127.0.0.1\"]"
#define HEADERS ",\"rules\":{\"a.example\":[{\"transform\":{\"headers\":{\"X-Key\":\"k\"}}}]}"

/* What the guest does with a channel next. */
enum stage { STAGE_CONNECT, STAGE_ID, STAGE_OPEN };

/* A channel of the guest (@stage), or a connection of the destination (STAGE_OPEN). */
struct far_end {
    int fd;
    enum stage stage;
};

static struct guest g;
static struct far_end ends[ENDS_MAX];
static size_t end_cnt;
static int server;
static uint16_t port;
static uint32_t state, newest_id;

static uint32_t chance(uint32_t n)
{
    state ^= state << 13; /* xorshift */
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

static void forget(size_t i)
{
    ends[i] = ends[--end_cnt];
}

static void add(int fd, enum stage stage)
{
    if (fd >= 0 && end_cnt < ENDS_MAX)
        ends[end_cnt++] = (struct far_end){fd, stage};
    else if (fd >= 0)
        (void)close(fd);
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT); /* or it is gone */
}

/* ---- the control channel ---- */

static void say_frame(const Control__GuestFrame *f)
{
    struct adit_buf out;
    adit_buf_init(&out, 64 * 1024);
    ck_assert_int_eq(control_append_guest(&out, f), ADIT_OK);
    struct adit_view v = adit_buf_view(&out);
    if (g.control >= 0 && send(g.control, v.ptr, v.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        (void)close(g.control);
        g.control = -1;
    }
    adit_buf_fini(&out);
}

static void say_hello(void)
{
    static char version[] = "test";
    Control__GuestHello hello;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    control__guest_hello__init(&hello);
    hello.mode = CONTROL__MODE__MODE_TRANSPARENT;
    hello.version = version;
    f.body_case = CONTROL__GUEST_FRAME__BODY_HELLO;
    f.hello = &hello;
    say_frame(&f);
}

static uint32_t some_id(void)
{
    return newest_id - chance(IDS);
}

static void say_dial(void)
{
    static uint8_t address[] = {127, 0, 0, 1};
    Control__Dial dial = CONTROL__DIAL__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    dial.id = chance(300) ? ++newest_id : some_id(); /* one in use breaks a rule */
    dial.address = (ProtobufCBinaryData){sizeof address, address};
    dial.port = chance(20) ? port : 1; /* nobody listens */
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &dial;
    say_frame(&f);
}

static void say_end(void)
{
    Control__End end = CONTROL__END__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    end.id = some_id();
    end.is_reset = chance(2) == 1;
    f.body_case = CONTROL__GUEST_FRAME__BODY_END;
    f.end = &end;
    say_frame(&f);
}

static void say_lookup(void)
{
    static char name[] = "name.example";
    Control__Lookup lookup;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    control__lookup__init(&lookup);
    lookup.id = chance(300) ? ++newest_id : some_id();
    lookup.name = name;
    lookup.type = CONTROL_TYPE_A;
    f.body_case = CONTROL__GUEST_FRAME__BODY_LOOKUP;
    f.lookup = &lookup;
    say_frame(&f);
}

/* What the host says is not read for long, or at once. */
static void hear_host(void)
{
    char bytes[4096];
    while (g.control >= 0) {
        ssize_t n = recv(g.control, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            (void)close(g.control);
            g.control = -1;
        }
    }
}

/* ---- channels and connections ---- */

static void hang_up(size_t i)
{
    struct linger now = {1, 0};
    if (chance(2)) /* a reset, where that is another thing */
        (void)setsockopt(ends[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(ends[i].fd);
    forget(i);
}

static void take_connect(size_t i, const char *line)
{
    if (chance(12) == 0) {
        say(ends[i].fd, "OK1\n");
        hang_up(i);
        return;
    }
    say(ends[i].fd, chance(20) ? "OK 1\n" : "OK 1\nmore\n");
    ends[i].stage = STAGE_ID;
    if (strcmp(line, "CONNECT 1025\n") != 0)
        return;
    if (g.control >= 0)
        (void)close(g.control);
    g.control = ends[i].fd;
    forget(i);
    if (chance(20))
        say_hello();
}

static void take_id(size_t i)
{
    static const char *const said[] = {"OK\n", "OK\n", "OK\n", "OK\nmore", "NO\n", "O", "OK\n\n"};
    say(ends[i].fd, said[chance(sizeof said / sizeof said[0])]);
    ends[i].stage = STAGE_OPEN;
}

static void take_line(size_t i)
{
    char line[64];
    ssize_t n = recv(ends[i].fd, line, sizeof line - 1, MSG_DONTWAIT | MSG_PEEK);
    if (n < 0 && errno == EAGAIN)
        return;
    char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
    if (!end) {
        hang_up(i);
        return;
    }
    end[1] = '\0';
    (void)recv(ends[i].fd, line, (size_t)(end + 1 - line), MSG_DONTWAIT); /* it is there */
    if (ends[i].stage == STAGE_CONNECT)
        take_connect(i, line);
    else
        take_id(i);
}

static void take_lines(void)
{
    for (size_t i = end_cnt; i-- > 0;) /* the last one takes the place of one that goes */
        if (ends[i].stage != STAGE_OPEN && chance(8))
            take_line(i);
}

static void use(size_t i)
{
    static char block[1 << 16];
    switch (chance(6)) {
    case 0:
        (void)shutdown(ends[i].fd, SHUT_WR);
        break;
    case 1:
        hang_up(i);
        break;
    case 2:
        (void)send(ends[i].fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 3:
        say(ends[i].fd, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        break;
    default:
        (void)recv(ends[i].fd, block, sizeof block, MSG_DONTWAIT);
    }
}

/* ---- the sequence ---- */

static void change_rules(void)
{
    static const char *const rules[] = {LOOPBACK "}", LOOPBACK "}", LOOPBACK HEADERS "}",
                                        "{\"denyOut\":[\"0.0.0.0/0\"]}"};
    const char *chosen = rules[chance(sizeof rules / sizeof rules[0])];
    ck_assert_int_eq(egress_update(g.sandbox, policy_of(&g, chosen), NULL), ADIT_OK);
}

static void step(void)
{
    static const enum stage first[] = {STAGE_CONNECT, STAGE_OPEN};
    uint32_t what = chance(100);
    size_t i = end_cnt > 0 ? chance((uint32_t)end_cnt) : 0;
    if (what < 20)
        say_dial();
    else if (what < 24)
        say_end();
    else if (what < 26)
        say_lookup();
    else if (what < 27)
        change_rules();
    else if (what < 60)
        add(accept4(what % 2 ? g.listener : server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK),
            first[what % 2 ? 0 : 1]);
    else if (what < 65)
        hear_host();
    else if (what < 80 && end_cnt > 0 && ends[i].stage == STAGE_OPEN)
        use(i);
    else
        take_lines();
    if (end_cnt > ENDS_MAX / 2)
        hang_up(chance((uint32_t)end_cnt));
}

static uint64_t dial_cnt(void)
{
    struct egress_stats stats;
    egress_measure(g.egress, &stats);
    return stats.at[EGRESS_COUNT_DIALS];
}

/* Without its control channel the guest has no connections. */
static void leave(void)
{
    time_t begin = time(NULL);
    if (g.control >= 0)
        (void)close(g.control);
    g.control = -1;
    while (end_cnt > 0)
        hang_up(end_cnt - 1);
    while (dial_cnt() > 0)
        ck_assert_int_lt(time(NULL) - begin, GUEST_WAIT_MS / 1000);
}

START_TEST(egress_goes_on_whatever_guests_do)
{
    struct pollfd ready[2];
    state = 88172645u + (uint32_t)_i * 7919u;
    server = server_open(&port);
    guest_start(&g, "127.0.0.1", LOOPBACK "}", false);
    guest_open(&g);
    ready[0] = (struct pollfd){.fd = g.listener, .events = POLLIN};
    ready[1] = (struct pollfd){.fd = server, .events = POLLIN};
    ck_assert_int_eq(fcntl(g.listener, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(fcntl(server, F_SETFL, O_NONBLOCK), 0);
    for (int n = 0; n < STEPS; n++) {
        step();
        if (n % 4 == 0) /* the host has its turns, too */
            (void)poll(ready, 2, 1);
        if (g.control < 0 && poll(ready, 1, 100) == 1) {
            add(accept4(g.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), STAGE_CONNECT);
            take_lines();
        }
    }
    leave();
    struct egress_stats stats;
    egress_measure(g.egress, &stats);
    ck_assert_uint_gt(stats.at[EGRESS_COUNT_CONNECTED], 5); /* it got that far */
    guest_stop(&g);
    (void)close(server);
}
END_TEST

SUITE_MAIN_WITH("egress_whims", LOOPS({egress_goes_on_whatever_guests_do, SEEDS}))
