/* SPDX-License-Identifier: Apache-2.0 */
/* Names as programs look them up, over UDP and TCP, with the broker's resolver played by the test.
 */
#include "egress_broker.h"

#include "envd/egress/egress_dns_server.h"

static struct broker broker;

static void setup(void)
{
    egress_start(EGRESS_REDIRECT);
    broker_open(&broker, true);
}

static void teardown(void)
{
    broker_close(&broker);
    live_stop();
}

/* ---- the broker's side ---- */

static bool is_asked(void)
{
    struct pollfd p = {.fd = broker.control.fd, .events = POLLIN};
    return broker.control.start < broker.control.end || poll(&p, 1, 0) == 1;
}

/* ---- programs ---- */

static int resolver(int type)
{
    int failed;
    int fd = space_connect("8.8.8.8", 53, type, &failed);
    ck_assert_int_eq(failed, 0);
    return fd;
}

/* Ask for a name. Return: the length of the query. */
static size_t make_query(uint8_t out[512], uint16_t id, const char *name, uint16_t type)
{
    size_t at = 12;
    memcpy(out, (uint8_t[]){(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 12);
    for (const char *label = name; *label; label += strcspn(label, "."), label += *label == '.') {
        size_t len = strcspn(label, ".");
        out[at] = (uint8_t)len;
        memcpy(out + at + 1, label, len);
        at += len + 1;
    }
    out[at++] = 0;
    memcpy(out + at, (uint8_t[]){(uint8_t)(type >> 8), (uint8_t)type, 0, 1}, 4);
    return at + 4;
}

static void ask(int fd, uint16_t id, const char *name, uint16_t type)
{
    uint8_t query[512];
    size_t len = make_query(query, id, name, type);
    ck_assert_int_eq(send(fd, query, len, 0), (ssize_t)len);
}

/* What came: rcode and number of answers. */
struct heard {
    uint8_t bytes[65536];
    size_t len;
    unsigned id, rcode, answer_cnt;
    bool is_cut;
};

static void read_head(struct heard *h)
{
    ck_assert_uint_ge(h->len, 12);
    ck_assert(h->bytes[2] & 0x80);
    h->id = (unsigned)h->bytes[0] << 8 | h->bytes[1];
    h->rcode = h->bytes[3] & 15;
    h->is_cut = h->bytes[2] & 2;
    h->answer_cnt = (unsigned)h->bytes[6] << 8 | h->bytes[7];
}

static const struct heard *hear(int fd)
{
    static struct heard h;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_msg(poll(&p, 1, 20000) == 1, "no answer");
    ssize_t len = recv(fd, h.bytes, sizeof h.bytes, 0);
    ck_assert_int_gt(len, 0);
    h.len = (size_t)len;
    read_head(&h);
    return &h;
}

static void expect_answer(int fd, unsigned id, unsigned rcode, unsigned answer_cnt)
{
    const struct heard *h = hear(fd);
    ck_assert_uint_eq(h->id, id);
    ck_assert_uint_eq(h->rcode, rcode);
    ck_assert_uint_eq(h->answer_cnt, answer_cnt);
    ck_assert(!h->is_cut);
}

/* @cnt names at once, none of them lost: the socket's buffer is read each 64. */
static void ask_many(int fd, uint16_t cnt)
{
    char name[32];
    for (uint16_t i = 0; i < cnt; i++) {
        (void)snprintf(name, sizeof name, "host%u.example", i);
        ask(fd, i, name, 1);
        if (i % 64 == 63) {
            ask(fd, 9999, "localhost", 1);
            expect_answer(fd, 9999, 0, 1);
        }
    }
}

/* ---- over UDP ---- */

START_TEST(dns_name_is_looked_up_once_and_remembered)
{
    int fd = resolver(SOCK_DGRAM);
    ask(fd, 1, "Example.COM", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "example.com", 1), 0, "example.com", 2, 60);
    expect_answer(fd, 1, 0, 2);
    ask(fd, 2, "example.com", 1);
    expect_answer(fd, 2, 0, 2);
    ck_assert(!is_asked());
    ask(fd, 3, "example.com", 28);
    broker_tell(&broker, broker_expect_lookup(&broker, "example.com", 28), 0, "", 0, 60);
    expect_answer(fd, 3, 0, 0);
    (void)close(fd);
}
END_TEST

START_TEST(dns_those_who_ask_the_same_share_a_lookup)
{
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = resolver(SOCK_DGRAM);
        ask(fds[i], (uint16_t)i, "example.com", 1);
    }
    uint32_t id = broker_expect_lookup(&broker, "example.com", 1);
    ask(fds[0], 77, "localhost", 1); /* the others were read when this is answered */
    expect_answer(fds[0], 77, 0, 1);
    ck_assert(!is_asked());
    broker_tell(&broker, id, 0, "example.com", 1, 0);
    for (int i = 0; i < 3; i++) {
        expect_answer(fds[i], (unsigned)i, 0, 1);
        (void)close(fds[i]);
    }
}
END_TEST

START_TEST(dns_no_such_name_is_remembered_and_a_failure_is_not)
{
    int fd = resolver(SOCK_DGRAM);
    ask(fd, 1, "nobody.example", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "nobody.example", 1), 3, "", 0, 30);
    expect_answer(fd, 1, 3, 0);
    ask(fd, 2, "nobody.example", 1);
    expect_answer(fd, 2, 3, 0);
    for (uint16_t i = 3; i < 5; i++) {
        ask(fd, i, "failing.example", 1);
        broker_tell(&broker, broker_expect_lookup(&broker, "failing.example", 1), 2, "", 0, 30);
        expect_answer(fd, i, 2, 0);
    }
    (void)close(fd);
}
END_TEST

START_TEST(dns_what_the_host_is_not_asked_is_answered_at_once)
{
    static const struct {
        const char *name;
        uint16_t type;
        unsigned rcode, answer_cnt;
    } rows[] = {
        {"localhost", 1, 0, 1},     {"localhost", 28, 0, 1},
        {"app.LOCALHOST", 1, 0, 1}, {"example.com", 15, 0, 0},
        {"example.com", 16, 0, 0},  {"_http._tcp.example.com", 33, 0, 0},
        {"example.com", 65, 0, 0},  {"4.3.2.1.in-addr.arpa", 12, 0, 0},
        {"a b.example", 1, 3, 0},   {"", 1, 0, 0},
    };
    char own_name[256] = "";
    int fd = resolver(SOCK_DGRAM);
    for (uint16_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ask(fd, i, rows[i].name, rows[i].type);
        expect_answer(fd, i, rows[i].rcode, rows[i].answer_cnt);
    }
    ck_assert_int_eq(gethostname(own_name, sizeof own_name - 1), 0);
    ask(fd, 100, own_name, 1);
    expect_answer(fd, 100, 0, 1);
    ck_assert(!is_asked());
    (void)close(fd);
}
END_TEST

START_TEST(dns_without_ipv6_nobody_waits_for_it)
{
    int fd = resolver(SOCK_DGRAM);
    broker_close(&broker);
    broker_open(&broker, false);
    ask(fd, 1, "example.com", 1); /* asked when the host's hello was read */
    uint32_t id = broker_expect_lookup(&broker, "example.com", 1);
    ask(fd, 2, "example.com", 28);
    expect_answer(fd, 2, 0, 0);
    broker_tell(&broker, id, 0, "example.com", 1, 60);
    expect_answer(fd, 1, 0, 1);
    (void)close(fd);
}
END_TEST

START_TEST(dns_broken_queries_are_told_and_answers_are_not_answered)
{
    int fd = resolver(SOCK_DGRAM);
    uint8_t query[512];
    size_t len = make_query(query, 9, "example.com", 1);
    query[2] |= 0x80; /* an answer: nothing comes */
    ck_assert_int_eq(send(fd, query, len, 0), (ssize_t)len);
    ck_assert_int_eq(send(fd, query, 11, 0), 11); /* no head */
    query[2] = 0x29;
    ck_assert_int_eq(send(fd, query, len, 0), (ssize_t)len);
    expect_answer(fd, 9, EGRESS_DNS_NOTIMP, 0);
    query[2] = 1;
    ck_assert_int_eq(send(fd, query, len - 1, 0), (ssize_t)len - 1);
    expect_answer(fd, 9, EGRESS_DNS_FORMERR, 0);
    query[len - 1] = 3; /* another class */
    ck_assert_int_eq(send(fd, query, len, 0), (ssize_t)len);
    expect_answer(fd, 9, EGRESS_DNS_REFUSED, 0);
    ck_assert(!is_asked());
    (void)close(fd);
}
END_TEST

/* ---- the host goes and comes ---- */

START_TEST(dns_next_host_is_asked_what_the_last_did_not_answer)
{
    int fd = resolver(SOCK_DGRAM);
    ask(fd, 1, "known.example", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "known.example", 1), 0, "known.example", 1,
                600);
    expect_answer(fd, 1, 0, 1);
    ask(fd, 2, "example.com", 1);
    (void)broker_expect_lookup(&broker, "example.com", 1);
    broker_close(&broker);
    broker_open(&broker, true);
    broker_tell(&broker, broker_expect_lookup(&broker, "example.com", 1), 0, "example.com", 1, 60);
    expect_answer(fd, 2, 0, 1);
    /* It has to hear of every name. */
    ask(fd, 3, "known.example", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "known.example", 1), 0, "known.example", 1,
                600);
    expect_answer(fd, 3, 0, 1);
    (void)close(fd);
}
END_TEST

START_TEST(dns_host_that_does_not_answer_is_a_failure)
{
    int fd = resolver(SOCK_DGRAM);
    ask(fd, 1, "example.com", 1);
    uint32_t id = broker_expect_lookup(&broker, "example.com", 1);
    expect_answer(fd, 1, EGRESS_DNS_SERVFAIL, 0);
    broker_tell(&broker, id, 0, "example.com", 1, 60); /* too late, and no wrong */
    ask(fd, 2, "example.com", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "example.com", 1), 0, "example.com", 1, 60);
    expect_answer(fd, 2, 0, 1);
    (void)close(fd);
}
END_TEST

/* ---- many ---- */

START_TEST(dns_asks_no_more_at_once_than_the_host_takes)
{
    enum { MANY = 300 };
    uint32_t ids[MANY];
    char name[32];
    int fd = resolver(SOCK_DGRAM);
    ask_many(fd, MANY);
    for (int i = 0; i < EGRESS_DNS_ASKED_MAX; i++) {
        (void)snprintf(name, sizeof name, "host%d.example", i);
        ids[i] = broker_expect_lookup(&broker, name, 1);
    }
    ask(fd, 9999, "localhost", 1);
    expect_answer(fd, 9999, 0, 1);
    ck_assert(!is_asked());
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "host%d.example", i);
        broker_tell(&broker, ids[i], 0, name, 1, 60);
        expect_answer(fd, (unsigned)i, 0, 1);
        if (i + EGRESS_DNS_ASKED_MAX < MANY) {
            (void)snprintf(name, sizeof name, "host%d.example", i + EGRESS_DNS_ASKED_MAX);
            ids[i + EGRESS_DNS_ASKED_MAX] = broker_expect_lookup(&broker, name, 1);
        }
    }
    (void)close(fd);
}
END_TEST

START_TEST(dns_too_many_who_wait_are_told_so)
{
    unsigned failed_cnt = 0;
    int fd = resolver(SOCK_DGRAM);
    ask_many(fd, EGRESS_DNS_CLIENTS_MAX + 8);
    for (; failed_cnt < 8; failed_cnt++)
        expect_answer(fd, EGRESS_DNS_CLIENTS_MAX + failed_cnt, EGRESS_DNS_SERVFAIL, 0);
    (void)close(fd);
}
END_TEST

/* ---- over TCP ---- */

static void ask_stream(int fd, uint16_t id, const char *name, uint16_t type)
{
    uint8_t query[514];
    size_t len = make_query(query + 2, id, name, type);
    query[0] = (uint8_t)(len >> 8);
    query[1] = (uint8_t)len;
    ck_assert_int_eq(send(fd, query, len + 2, MSG_NOSIGNAL), (ssize_t)len + 2);
}

static const struct heard *hear_stream(int fd)
{
    static struct heard h;
    uint8_t length[2];
    ck_assert_int_eq(recv(fd, length, 2, MSG_WAITALL), 2);
    h.len = (size_t)length[0] << 8 | length[1];
    ck_assert_int_eq(recv(fd, h.bytes, h.len, MSG_WAITALL), (ssize_t)h.len);
    read_head(&h);
    return &h;
}

START_TEST(dns_answer_too_long_for_a_datagram_comes_over_tcp)
{
    int fd = resolver(SOCK_DGRAM);
    ask(fd, 1, "many.example", 1);
    broker_tell(&broker, broker_expect_lookup(&broker, "many.example", 1), 0, "many.example", 60,
                60);
    const struct heard *h = hear(fd);
    ck_assert(h->is_cut && h->answer_cnt == 0 && h->len <= 512);
    (void)close(fd);
    fd = resolver(SOCK_STREAM);
    ask_stream(fd, 2, "many.example", 1);
    h = hear_stream(fd);
    ck_assert(!h->is_cut && h->answer_cnt == 60);
    (void)close(fd);
}
END_TEST

START_TEST(dns_stream_takes_queries_in_pieces_and_many_together)
{
    enum { MANY = 40 };
    uint8_t query[514];
    char name[32];
    int fd = resolver(SOCK_STREAM);
    for (uint16_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "host%u.example", i);
        size_t len = make_query(query + 2, i, name, 1);
        query[0] = 0;
        query[1] = (uint8_t)len;
        for (size_t at = 0; at < len + 2; at += 5) {
            size_t n = len + 2 - at < 5 ? len + 2 - at : 5;
            ck_assert_int_eq(send(fd, query + at, n, MSG_NOSIGNAL), (ssize_t)n);
        }
    }
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "host%u.example", i);
        broker_tell(&broker, broker_expect_lookup(&broker, name, 1), 0, name, 1, 60);
        const struct heard *h = hear_stream(fd);
        ck_assert_uint_eq(h->id, i);
        ck_assert_uint_eq(h->answer_cnt, 1);
    }
    ck_assert_int_eq(recv(fd, query, 1, 0), 0); /* all answered, closed */
    (void)close(fd);
}
END_TEST

START_TEST(dns_stream_of_garbage_is_closed)
{
    static const struct adit_view rows[] = {ADIT_VIEW("\0\0"), ADIT_VIEW("\0\5hello"),
                                            ADIT_VIEW("GET / HTTP/1.1\r\n\r\n")};
    char byte;
    for (size_t i = 0; i < 2; i++) {
        int fd = resolver(SOCK_STREAM);
        ck_assert_int_gt(send(fd, rows[i].ptr, rows[i].len, MSG_NOSIGNAL), 0);
        ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
        (void)close(fd);
    }
    int fd = resolver(SOCK_STREAM); /* a long message that never comes, left alone */
    ck_assert_int_gt(send(fd, rows[2].ptr, rows[2].len, MSG_NOSIGNAL), 0);
    (void)close(fd);
}
END_TEST

START_TEST(dns_streams_are_bounded)
{
    int fds[EGRESS_DNS_CONNECTIONS_MAX];
    char byte;
    for (int i = 0; i < EGRESS_DNS_CONNECTIONS_MAX; i++)
        fds[i] = resolver(SOCK_STREAM);
    int more = resolver(SOCK_STREAM);
    ck_assert_int_le(recv(more, &byte, 1, 0), 0);
    (void)close(more);
    ask_stream(fds[0], 1, "localhost", 1);
    ck_assert_uint_eq(hear_stream(fds[0])->answer_cnt, 1);
    for (int i = 0; i < EGRESS_DNS_CONNECTIONS_MAX; i++)
        (void)close(fds[i]);
}
END_TEST

START_TEST(dns_program_that_leaves_is_forgotten)
{
    int fd = resolver(SOCK_STREAM);
    ask_stream(fd, 1, "example.com", 1);
    uint32_t id = broker_expect_lookup(&broker, "example.com", 1);
    struct linger hard = {1, 0};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    (void)close(fd);
    fd = resolver(SOCK_STREAM);
    ask_stream(fd, 2, "localhost", 1); /* the reset was seen when this is answered */
    ck_assert_uint_eq(hear_stream(fd)->answer_cnt, 1);
    broker_tell(&broker, id, 0, "example.com", 1, 60);
    ask_stream(fd, 3, "example.com", 1);
    ck_assert_uint_eq(hear_stream(fd)->answer_cnt, 1);
    (void)close(fd);
}
END_TEST

SUITE_MAIN_WITH(
    "egress_dns", .fixtures = {{setup, teardown}},
    TESTS(dns_name_is_looked_up_once_and_remembered, dns_those_who_ask_the_same_share_a_lookup,
          dns_no_such_name_is_remembered_and_a_failure_is_not,
          dns_what_the_host_is_not_asked_is_answered_at_once, dns_without_ipv6_nobody_waits_for_it,
          dns_broken_queries_are_told_and_answers_are_not_answered,
          dns_next_host_is_asked_what_the_last_did_not_answer,
          dns_host_that_does_not_answer_is_a_failure, dns_asks_no_more_at_once_than_the_host_takes,
          dns_too_many_who_wait_are_told_so, dns_answer_too_long_for_a_datagram_comes_over_tcp,
          dns_stream_takes_queries_in_pieces_and_many_together, dns_streams_are_bounded,
          dns_stream_of_garbage_is_closed, dns_program_that_leaves_is_forgotten))
