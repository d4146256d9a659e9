/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM's messages: what is told, what is answered, what is refused. */
#include "vsock-device/vhost_user.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define VERSION 1u
#define NEED_REPLY 9u
#define CID 7
#define NO_FD 0x100u

static struct vhost_user v;
static struct adit_err err;
static uint8_t reply[VHOST_USER_MESSAGE_MAX];
static size_t reply_len;
static int first_fd;

static int new_fd(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int lowest_free_fd(void)
{
    int fd = new_fd();
    (void)close(fd); /* only its number is of interest */
    return fd;
}

static void setup(void)
{
    first_fd = lowest_free_fd();
    vhost_user_init(&v, CID);
}

static void teardown(void)
{
    vhost_user_fini(&v);
    ck_assert_int_eq(lowest_free_fd(), first_fd);
}

static size_t format(uint8_t *out, uint32_t request, uint32_t flags, const void *p, uint32_t len)
{
    const uint32_t head[] = {request, flags, len};
    memcpy(out, head, sizeof(head));
    if (len > 0)
        memcpy(out + sizeof(head), p, len);
    return sizeof(head) + len;
}

/* Feed a message in pieces of @step and act like a device whose rings rest at @base. */
static int feed(const uint8_t *m, size_t len, size_t fd_cnt, size_t step, uint16_t base)
{
    int fds[VHOST_USER_REGION_MAX + 1], rc = 0;
    bool done = false;
    for (size_t i = 0; i < fd_cnt; i++)
        fds[i] = new_fd();
    for (size_t at = 0; rc == 0 && at < len;) {
        size_t n = vhost_user_wanted(&v);
        n = n < step ? n : step;
        n = n < len - at ? n : len - at;
        rc = vhost_user_feed(&v, m + at, n, fds, at == 0 ? fd_cnt : 0, &done, &err);
        at += n;
        ck_assert(!done || at == len);
    }
    if (rc)
        return rc;
    ck_assert(done);
    if (v.event == VHOST_USER_HALT)
        v.rings[v.ring].base = base;
    return 0;
}

static int tell_flags(uint32_t request, uint32_t flags, const void *p, size_t len, size_t fd_cnt)
{
    uint8_t m[VHOST_USER_MESSAGE_MAX];
    return feed(m, format(m, request, flags, p, (uint32_t)len), fd_cnt, SIZE_MAX, 0);
}

static int tell(uint32_t request, const void *p, size_t len, size_t fd_cnt)
{
    return tell_flags(request, VERSION, p, len, fd_cnt);
}

static void finish(void)
{
    reply_len = vhost_user_finish(&v, reply);
}

static enum vhost_user_event told(uint32_t request, const void *p, size_t len, size_t fd_cnt)
{
    ck_assert_msg(tell(request, p, len, fd_cnt) == 0, "%s", err.msg);
    enum vhost_user_event event = v.event;
    finish();
    return event;
}

static enum vhost_user_event told_number(uint32_t request, uint64_t n, size_t fd_cnt)
{
    return told(request, &n, sizeof(n), fd_cnt);
}

static enum vhost_user_event told_ring(uint32_t request, uint32_t ring, uint32_t number)
{
    const uint32_t m[] = {ring, number};
    return told(request, m, sizeof(m), 0);
}

static enum vhost_user_event told_addr(uint32_t ring, uint64_t desc)
{
    const uint64_t m[] = {ring, desc, desc + 4096, desc + 2048, 0};
    return told(VHOST_USER_SET_VRING_ADDR, m, sizeof(m), 0);
}

static uint64_t answered_number(void)
{
    uint64_t n;
    ck_assert_uint_eq(reply_len, VHOST_USER_HEADER_LEN + sizeof(n));
    memcpy(&n, reply + VHOST_USER_HEADER_LEN, sizeof(n));
    return n;
}

struct region {
    uint64_t guest_addr, len, user_addr, map_offset;
};

struct table {
    uint64_t cnt;
    struct region regions[VHOST_USER_REGION_MAX + 1];
};

static struct table table_of(size_t cnt)
{
    struct table t = {.cnt = cnt};
    for (size_t i = 0; i < cnt; i++)
        t.regions[i] = (struct region){i << 20, 1 << 20, (i << 20) + (1ull << 40), i << 20};
    return t;
}

static size_t table_len(size_t cnt)
{
    return 8 + cnt * sizeof(struct region);
}

static void agree(void)
{
    told_number(VHOST_USER_SET_FEATURES, VHOST_USER_FEATURES & ~VHOST_USER_F_LOG_ALL, 0);
    told_number(VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_FEATURES, 0);
}

static void describe(uint32_t ring, uint32_t base)
{
    told_ring(VHOST_USER_SET_VRING_NUM, ring, 128);
    told_ring(VHOST_USER_SET_VRING_BASE, ring, base);
    told_addr(ring, 1ull << 40);
}

static void start(uint32_t base)
{
    struct table t = table_of(2);
    ck_assert_int_eq(told(VHOST_USER_SET_MEM_TABLE, &t, table_len(2), 2), VHOST_USER_MEMORY);
    for (uint32_t i = 0; i < VHOST_USER_RING_CNT; i++) {
        describe(i, base + i);
        ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_KICK, i, 1), VHOST_USER_NOTHING);
        ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_CALL, i, 1), VHOST_USER_CALL);
    }
    for (uint32_t i = 0; i < VHOST_USER_RING_CNT; i++)
        ck_assert_int_eq(told_ring(VHOST_USER_SET_VRING_ENABLE, i, 1), VHOST_USER_RUN);
}

/* ---- what is answered ---- */

START_TEST(vhost_user_offers_what_it_has)
{
    told(VHOST_USER_GET_FEATURES, NULL, 0, 0);
    ck_assert_uint_eq(answered_number(), VHOST_USER_FEATURES);
    told(VHOST_USER_GET_PROTOCOL_FEATURES, NULL, 0, 0);
    ck_assert_uint_eq(answered_number(), VHOST_USER_PROTOCOL_FEATURES);
    told(VHOST_USER_SET_OWNER, NULL, 0, 0);
    ck_assert_uint_eq(reply_len, 0);
}
END_TEST

START_TEST(vhost_user_answers_the_guests_cid)
{
    const uint32_t whole[5] = {0, 8, 0}, part[3 + 1] = {4, 4, 0};
    uint64_t cid;
    agree();
    told(VHOST_USER_GET_CONFIG, whole, 12 + 8, 0);
    ck_assert_uint_eq(reply_len, VHOST_USER_HEADER_LEN + 12 + 8);
    memcpy(&cid, reply + VHOST_USER_HEADER_LEN + 12, sizeof(cid));
    ck_assert_uint_eq(cid, CID);
    told(VHOST_USER_GET_CONFIG, part, 12 + 4, 0);
    ck_assert_uint_eq(reply_len, VHOST_USER_HEADER_LEN + 12 + 4);
    ck_assert_uint_eq(reply[VHOST_USER_HEADER_LEN + 12], 0);
}
END_TEST

START_TEST(vhost_user_says_done_only_when_asked_and_agreed)
{
    ck_assert_int_eq(tell_flags(VHOST_USER_SET_OWNER, NEED_REPLY, NULL, 0, 0), 0);
    finish();
    ck_assert_uint_eq(reply_len, 0);
    agree();
    ck_assert_uint_eq(reply_len, 0);
    ck_assert_int_eq(tell_flags(VHOST_USER_SET_OWNER, NEED_REPLY, NULL, 0, 0), 0);
    finish();
    ck_assert_uint_eq(answered_number(), 0);
}
END_TEST

/* ---- rings ---- */

START_TEST(vhost_user_runs_a_ring_when_it_is_described_started_and_enabled)
{
    agree();
    start(0);
    ck_assert_uint_eq(v.rings[1].size, 128);
    ck_assert_uint_eq(v.rings[1].base, 1);
    ck_assert_uint_eq(v.rings[0].avail, (1ull << 40) + 2048);
    ck_assert_uint_eq(v.rings[0].used, (1ull << 40) + 4096);
    ck_assert_int_eq(told_ring(VHOST_USER_SET_VRING_ENABLE, 0, 1), VHOST_USER_NOTHING);
}
END_TEST

START_TEST(vhost_user_without_enable_runs_a_ring_by_its_kick)
{
    struct table t = table_of(1);
    told_number(VHOST_USER_SET_FEATURES, VRING_F_VERSION_1, 0);
    told(VHOST_USER_SET_MEM_TABLE, &t, table_len(1), 1);
    describe(0, 0);
    ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_KICK, 0, 1), VHOST_USER_RUN);
}
END_TEST

START_TEST(vhost_user_starts_no_ring_of_which_a_part_is_missing)
{
    struct table t = table_of(1);
    for (int missing = 0; missing < 3; missing++) {
        vhost_user_fini(&v);
        vhost_user_init(&v, CID);
        agree();
        if (missing != 0)
            told(VHOST_USER_SET_MEM_TABLE, &t, table_len(1), 1);
        if (missing != 1)
            told_ring(VHOST_USER_SET_VRING_NUM, 0, 128);
        if (missing != 2)
            told_addr(0, 1ull << 40);
        ck_assert_int_eq(tell(VHOST_USER_SET_VRING_KICK, (const uint64_t[]){0}, 8, 1),
                         ADIT_ERR_PROTOCOL);
    }
}
END_TEST

START_TEST(vhost_user_takes_a_start_at_0_for_a_new_one_whatever_was_before)
{
    for (uint32_t i = 0; i < VHOST_USER_RING_CNT; i++)
        told_ring(VHOST_USER_SET_VRING_BASE, i, 0);
    ck_assert(!vhost_user_is_resumed(&v));
}
END_TEST

/* As QEMU does when a VM is stopped and continued. */
START_TEST(vhost_user_knows_rings_that_go_on_from_those_that_start_anew)
{
    const uint32_t ring[][2] = {{0, 0}, {1, 0}};
    agree();
    start(0);
    ck_assert(!vhost_user_is_resumed(&v));
    for (uint32_t i = 0; i < VHOST_USER_RING_CNT; i++) {
        ck_assert_int_eq(tell(VHOST_USER_SET_VRING_ENABLE, ring[i], 8, 0), 0);
        ck_assert_int_eq(v.event, VHOST_USER_HALT);
        v.rings[i].base = (uint16_t)(500 + i);
        finish();
        told_ring(VHOST_USER_GET_VRING_BASE, i, 0);
        ck_assert_uint_eq(answered_number(), i | (uint64_t)(500 + i) << 32);
        ck_assert_int_eq(v.rings[i].kick_fd, -1);
    }
    start(500);
    ck_assert(vhost_user_is_resumed(&v));
    for (uint32_t i = 0; i < VHOST_USER_RING_CNT; i++)
        told_ring(VHOST_USER_GET_VRING_BASE, i, 0);
    start(0);
    ck_assert(!vhost_user_is_resumed(&v));
}
END_TEST

START_TEST(vhost_user_halts_a_ring_whose_base_is_asked)
{
    uint8_t m[VHOST_USER_MESSAGE_MAX];
    const uint32_t ring[] = {1, 0};
    agree();
    start(0);
    size_t len = format(m, VHOST_USER_GET_VRING_BASE, VERSION, ring, sizeof(ring));
    ck_assert_int_eq(feed(m, len, 0, 1, 99), 0);
    ck_assert_int_eq(v.event, VHOST_USER_HALT);
    ck_assert_uint_eq(v.ring, 1);
    finish();
    ck_assert_uint_eq(answered_number(), 1 | 99ull << 32);
    ck_assert_int_eq(told_ring(VHOST_USER_SET_VRING_ENABLE, 1, 1), VHOST_USER_NOTHING);
}
END_TEST

START_TEST(vhost_user_takes_interrupts_away_and_gives_others)
{
    agree();
    start(0);
    ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_CALL, 0 | NO_FD, 0), VHOST_USER_NOTHING);
    ck_assert_int_eq(v.rings[0].call_fd, -1);
    ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_CALL, 0, 1), VHOST_USER_CALL);
    ck_assert_int_ge(v.rings[0].call_fd, 0);
    ck_assert_int_eq(told_number(VHOST_USER_SET_VRING_ERR, 0, 1), VHOST_USER_NOTHING);
}
END_TEST

/* ---- dirty pages ---- */

START_TEST(vhost_user_logs_pages_while_rings_run)
{
    const uint64_t log[] = {8192, 4096};
    agree();
    start(0);
    ck_assert_int_eq(tell(VHOST_USER_SET_LOG_BASE, log, sizeof(log), 1), 0);
    ck_assert_int_eq(v.event, VHOST_USER_LOG);
    ck_assert_int_ge(v.log.fd, 0);
    ck_assert_uint_eq(v.log.map_offset, 4096);
    finish();
    ck_assert_uint_eq(answered_number(), 0);
    ck_assert_int_eq(v.log.fd, -1);
    ck_assert_int_eq(told_number(VHOST_USER_SET_FEATURES, VHOST_USER_FEATURES, 0), VHOST_USER_LOG);
    ck_assert_int_eq(told_addr(0, 1ull << 40), VHOST_USER_NOTHING);
    ck_assert_int_eq(told_number(VHOST_USER_SET_LOG_FD, 0, 1), VHOST_USER_NOTHING);
}
END_TEST

/* ---- what is refused; @in_state: rings run ---- */

#define M(...) __VA_ARGS__
#define WORDS(...)                                                                                 \
    .p = (const uint64_t[]){__VA_ARGS__}, .len = sizeof((const uint64_t[]){__VA_ARGS__})
#define PAIR(ring, number) WORDS((ring) | (uint64_t)(number) << 32)

static const struct breach {
    const char *what;
    uint32_t request;
    uint32_t flags; /* 0: the usual */
    const uint64_t *p;
    size_t len, fd_cnt;
    bool is_running;
} breaches[] = {
    {"request 0", 0, 0, NULL, 0, 0, false},
    {"a request that is not offered", 17, 0, NULL, 0, 0, false},
    {"a request beyond the table", UINT32_MAX, 0, NULL, 0, 0, false},
    {"version 2", VHOST_USER_GET_FEATURES, 2, NULL, 0, 0, false},
    {"a reply", VHOST_USER_GET_FEATURES, 5, NULL, 0, 0, false},
    {"too short", VHOST_USER_SET_FEATURES, 0, M(WORDS(0)) - 1, 0, false},
    {"a payload where none is", VHOST_USER_SET_OWNER, 0, M(WORDS(0)), 0, false},
    {"an unknown feature", VHOST_USER_SET_FEATURES, 0, M(WORDS(1)), 0, false},
    {"an unknown protocol feature", VHOST_USER_SET_PROTOCOL_FEATURES, 0, M(WORDS(1)), 0, false},
    {"features that change", VHOST_USER_SET_FEATURES, 0, M(WORDS(0)), 0, true},
    {"a descriptor where none is", VHOST_USER_SET_FEATURES, 0, M(WORDS(0)), 1, false},
    {"ring 2", VHOST_USER_SET_VRING_NUM, 0, M(PAIR(2, 128)), 0, false},
    {"ring 2 enabled", VHOST_USER_SET_VRING_ENABLE, 0, M(PAIR(2, 1)), 0, false},
    {"ring 2 asked", VHOST_USER_GET_VRING_BASE, 0, M(PAIR(2, 0)), 0, false},
    {"ring 2 kicked", VHOST_USER_SET_VRING_KICK, 0, M(WORDS(2)), 1, false},
    {"ring 2 called", VHOST_USER_SET_VRING_CALL, 0, M(WORDS(2)), 1, false},
    {"ring 2's errors", VHOST_USER_SET_VRING_ERR, 0, M(WORDS(2)), 1, false},
    {"ring 2's addresses", VHOST_USER_SET_VRING_ADDR, 0, M(WORDS(2, 0, 0, 0, 0)), 0, false},
    {"a base of 17 bits", VHOST_USER_SET_VRING_BASE, 0, M(PAIR(0, 0x10000)), 0, false},
    {"enabled twice over", VHOST_USER_SET_VRING_ENABLE, 0, M(PAIR(0, 2)), 0, false},
    {"a size while it runs", VHOST_USER_SET_VRING_NUM, 0, M(PAIR(0, 128)), 0, true},
    {"a base while it runs", VHOST_USER_SET_VRING_BASE, 0, M(PAIR(0, 0)), 0, true},
    {"addresses while it runs", VHOST_USER_SET_VRING_ADDR, 0, M(WORDS(0, 0, 0, 0, 0)), 0, true},
    {"a kick while it runs", VHOST_USER_SET_VRING_KICK, 0, M(WORDS(0)), 1, true},
    {"a kick before all else", VHOST_USER_SET_VRING_KICK, 0, M(WORDS(0)), 1, false},
    {"a kick that is not sent", VHOST_USER_SET_VRING_KICK, 0, M(WORDS(0)), 0, false},
    {"a ring to be polled", VHOST_USER_SET_VRING_KICK, 0, M(WORDS(NO_FD)), 0, false},
    {"a call that is not said", VHOST_USER_SET_VRING_CALL, 0, M(WORDS(NO_FD)), 1, false},
    {"two calls", VHOST_USER_SET_VRING_CALL, 0, M(WORDS(0)), 2, false},
    {"strange bits of a call", VHOST_USER_SET_VRING_CALL, 0, M(WORDS(0x200)), 1, false},
    {"used entries elsewhere while it runs", VHOST_USER_SET_VRING_ADDR, 0,
     M(WORDS(0, 1ull << 40, 0, (1ull << 40) + 2048, 0)), 0, true},
    {"available ones elsewhere while it runs", VHOST_USER_SET_VRING_ADDR, 0,
     M(WORDS(0, 1ull << 40, (1ull << 40) + 4096, 0, 0)), 0, true},
    {"an empty table", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(0, 0, 4096, 0, 0)), 1, false},
    {"nine regions at their length", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(9, 0, 4096, 0, 0)),
     VHOST_USER_REGION_MAX, false},
    {"a region at the end of all offsets", VHOST_USER_SET_MEM_TABLE, 0,
     M(WORDS(1, 0, 1ull << 63, 0, 1ull << 62)), 1, false},
    {"no region", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(0)), 1, false},
    {"a region without file", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(1, 0, 4096, 0, 0)), 0, false},
    {"a region less", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(2, 0, 4096, 0, 0)), 2, false},
    {"nine regions", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(9, 0, 4096, 0, 0)), 1, false},
    {"an empty region", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(1, 0, 0, 0, 0)), 1, false},
    {"half a page", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(1, 0, 4096, 0, 8)), 1, false},
    {"beyond all files", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(1, 0, 4096, 0, -4096ull)), 1, false},
    {"a log of nothing", VHOST_USER_SET_LOG_BASE, 0, M(WORDS(0, 0)), 1, false},
    {"a log without file", VHOST_USER_SET_LOG_BASE, 0, M(WORDS(4096, 0)), 0, false},
    {"a log in half a page", VHOST_USER_SET_LOG_BASE, 0, M(WORDS(4096, 1)), 1, false},
    {"the configuration's end", VHOST_USER_GET_CONFIG, 0, M(WORDS(4 | 8ull << 32, 0, 0)) - 4, 0,
     false},
    {"behind its end", VHOST_USER_GET_CONFIG, 0, M(WORDS(9, 0)) - 4, 0, false},
    {"more than is asked", VHOST_USER_GET_CONFIG, 0, M(WORDS(0 | 8ull << 32, 0)), 0, false},
    {"descriptors without end", VHOST_USER_SET_MEM_TABLE, 0, M(WORDS(9)), VHOST_USER_REGION_MAX + 1,
     false},
};

START_TEST(vhost_user_refuses)
{
    const struct breach *b = &breaches[_i];
    uint8_t m[VHOST_USER_MESSAGE_MAX];
    agree();
    if (b->is_running)
        start(0);
    size_t len = format(m, b->request, b->flags ? b->flags : VERSION, b->p, (uint32_t)b->len);
    ck_assert_msg(feed(m, len, b->fd_cnt, SIZE_MAX, 0) == ADIT_ERR_PROTOCOL, "%s", b->what);
    ck_assert(strstr(err.msg, "vhost-user: ") == err.msg);
}
END_TEST

START_TEST(vhost_user_refuses_a_length_before_it_takes_a_byte_of_it)
{
    const uint32_t head[] = {VHOST_USER_SET_MEM_TABLE, VERSION, VHOST_USER_PAYLOAD_MAX + 1};
    bool done;
    ck_assert_uint_eq(vhost_user_wanted(&v), VHOST_USER_HEADER_LEN);
    ck_assert_int_eq(vhost_user_feed(&v, head, sizeof(head), NULL, 0, &done, &err),
                     ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(vhost_user_refuses_requests_of_features_not_agreed_on)
{
    const uint64_t log[] = {4096, 0};
    const uint32_t config[5] = {0, 8, 0};
    ck_assert_int_eq(tell(VHOST_USER_SET_LOG_BASE, log, sizeof(log), 1), ADIT_ERR_PROTOCOL);
    vhost_user_fini(&v);
    vhost_user_init(&v, CID);
    ck_assert_int_eq(tell(VHOST_USER_GET_CONFIG, config, sizeof(config), 0), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(vhost_user_takes_a_message_however_it_is_cut)
{
    uint8_t m[VHOST_USER_MESSAGE_MAX];
    struct table t = table_of(VHOST_USER_REGION_MAX);
    size_t len = format(m, VHOST_USER_SET_MEM_TABLE, VERSION, &t,
                        (uint32_t)table_len(VHOST_USER_REGION_MAX));
    for (size_t step = 1; step <= len; step += 7) {
        ck_assert_int_eq(feed(m, len, VHOST_USER_REGION_MAX, step, 0), 0);
        ck_assert_int_eq(v.event, VHOST_USER_MEMORY);
        ck_assert_uint_eq(v.region_cnt, VHOST_USER_REGION_MAX);
        ck_assert_uint_eq(v.regions[7].guest_addr, 7 << 20);
        finish();
    }
}
END_TEST

SUITE_MAIN_WITH("vhost_user", .fixtures = {{setup, teardown}},
                TESTS(vhost_user_offers_what_it_has, vhost_user_answers_the_guests_cid,
                      vhost_user_says_done_only_when_asked_and_agreed,
                      vhost_user_runs_a_ring_when_it_is_described_started_and_enabled,
                      vhost_user_without_enable_runs_a_ring_by_its_kick,
                      vhost_user_knows_rings_that_go_on_from_those_that_start_anew,
                      vhost_user_starts_no_ring_of_which_a_part_is_missing,
                      vhost_user_takes_a_start_at_0_for_a_new_one_whatever_was_before,
                      vhost_user_halts_a_ring_whose_base_is_asked,
                      vhost_user_takes_interrupts_away_and_gives_others,
                      vhost_user_logs_pages_while_rings_run,
                      vhost_user_refuses_a_length_before_it_takes_a_byte_of_it,
                      vhost_user_refuses_requests_of_features_not_agreed_on,
                      vhost_user_takes_a_message_however_it_is_cut),
                LOOPS({vhost_user_refuses, sizeof(breaches) / sizeof(breaches[0])}))
