/* SPDX-License-Identifier: Apache-2.0 */
/* The table of dials by itself: packets that the test makes up, the host at the end of a socket. */
#include "egress_space.h"

#include "envd/egress/egress_dial.h"
#include "tests/unit/net/net_fixture.h"

static struct {
    struct egress_queue *queue;
    struct egress_control *control;
    struct egress_dials *dials;
    struct peer *host;
    struct frame_reader reader;
    size_t read_at;
} T;

static void on_packet(void *owner, const struct egress_packet *p)
{
    (void)owner;
    (void)p;
    ck_abort_msg("nobody connects here");
}

static void on_open(void *owner, bool has_ipv6)
{
    (void)owner;
    (void)has_ipv6;
    egress_dials_open(T.dials);
}

static void on_lost(void *owner)
{
    (void)owner;
    egress_dials_lost(T.dials);
}

static void on_refusal(void *owner, uint32_t id, Control__Reason reason)
{
    (void)owner;
    egress_dials_refused(T.dials, id, reason);
}

static void on_end(void *owner, uint32_t id, bool is_reset)
{
    (void)owner;
    egress_dials_ended(T.dials, id, is_reset);
}

static const struct egress_control_ops ops = {on_open, on_lost, on_refusal, on_end, NULL};
static const struct net_stream_ops no_ops;

static struct net_stream *stream(struct peer **peer)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *s;
    int fd;
    *peer = peer_new(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, &no_ops, NULL, &s, &err), ADIT_OK);
    return s;
}

/* The next frame of the guest, NULL when there is none. */
static Control__GuestFrame *next_frame(void)
{
    Control__GuestFrame *f = NULL;
    settle();
    struct adit_view in = adit_view_mem(T.host->bytes + T.read_at, T.host->len - T.read_at);
    ck_assert_int_eq(control_read_guest(&T.reader, &in, &f, NULL), ADIT_OK);
    T.read_at = T.host->len - in.len;
    return f;
}

static void connect_host(void)
{
    T.read_at = 0;
    frame_reader_init(&T.reader, CONTROL_FRAME_MAX);
    egress_control_adopt(T.control, stream(&T.host), adit_view_mem(NULL, 0));
    peer_send_mem(T.host, "\0\0\0\0\4\x0a\2\10\1", 9);
    run_until(egress_control_is_open(T.control));
    Control__GuestFrame *f = next_frame();
    ck_assert(f && f->body_case == CONTROL__GUEST_FRAME__BODY_HELLO);
    control__guest_frame__free_unpacked(f, NULL);
}

static void setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    space_enter();
    fixture_init();
    ck_assert_msg(egress_queue_open(&F.net, on_packet, NULL, &T.queue, &err) == ADIT_OK, "%s",
                  err.msg);
    ck_assert_int_eq(egress_control_new(&F.net, "1", &ops, &T, &T.control, &err), ADIT_OK);
    ck_assert_int_eq(egress_dials_new(&F.net, T.control, T.queue, &T.dials, &err), ADIT_OK);
    connect_host();
}

static void teardown(void)
{
    egress_dials_free(T.dials);
    egress_control_free(T.control);
    egress_queue_close(T.queue);
    frame_reader_fini(&T.reader);
    fixture_fini();
}

/* Somebody at this port connects to 192.0.2.1:443. */
static struct egress_address packet_from(uint16_t port)
{
    struct egress_packet p = {.id = port, .is_dial = true};
    egress_address_set(&p.from, "\x0a\0\2\x0f", 4, port);
    egress_address_set(&p.to, "\xc0\0\2\1", 4, 443);
    egress_dials_packet(T.dials, &p);
    return p.to;
}

static bool next_is_dial(uint32_t *id)
{
    Control__GuestFrame *f = next_frame();
    bool is_it = f && f->body_case == CONTROL__GUEST_FRAME__BODY_DIAL;
    if (is_it)
        *id = f->dial->id;
    if (f)
        control__guest_frame__free_unpacked(f, NULL);
    return is_it;
}

START_TEST(dial_begins_once_however_often_its_packet_comes)
{
    struct peer *host, *program;
    uint32_t id, second;
    struct egress_address to = packet_from(1000);
    (void)packet_from(1000);
    ck_assert(next_is_dial(&id) && !next_is_dial(&second));
    struct net_stream *s = stream(&host);
    ck_assert(egress_dials_channel(T.dials, id, s, adit_view_mem(NULL, 0)));
    run_until(peer_has(host, "OK\n"));
    (void)packet_from(1000); /* lost behind its verdict */
    ck_assert(!next_is_dial(&second) && egress_dials_cnt(T.dials) == 1);
    egress_dials_accepted(T.dials, stream(&program), &to);
    peer_send(program, "hello");
    run_until(peer_has(host, "hello"));
    (void)packet_from(1000); /* another connection: the first one has its own */
    ck_assert(next_is_dial(&second) && second != id && egress_dials_cnt(T.dials) == 2);
}
END_TEST

START_TEST(dial_table_is_bounded)
{
    uint32_t id, first;
    for (unsigned i = 0; i < EGRESS_DIALS_MAX + 10; i++)
        (void)packet_from((uint16_t)(1000 + i));
    ck_assert_uint_eq(egress_dials_cnt(T.dials), EGRESS_DIALS_MAX);
    ck_assert(next_is_dial(&first));
    for (int i = 1; i < EGRESS_DIALS_ASKED_MAX; i++)
        ck_assert(next_is_dial(&id));
    ck_assert(!next_is_dial(&id));
    egress_dials_refused(T.dials, first, CONTROL__REASON__REASON_REFUSED);
    ck_assert_uint_eq(egress_dials_cnt(T.dials), EGRESS_DIALS_MAX - 1);
    ck_assert(next_is_dial(&id)); /* one that waited */
    (void)packet_from(9999);
    ck_assert_uint_eq(egress_dials_cnt(T.dials), EGRESS_DIALS_MAX);
}
END_TEST

START_TEST(dial_ids_do_not_come_again)
{
    static bool is_used[64 * 1024];
    for (int i = 0; i < 5000; i++) {
        uint32_t id;
        (void)packet_from(1000);
        ck_assert(next_is_dial(&id));
        ck_assert_uint_lt(id, sizeof is_used);
        ck_assert(!is_used[id]);
        is_used[id] = true;
        egress_dials_refused(T.dials, id, CONTROL__REASON__REASON_REFUSED);
    }
    ck_assert_uint_eq(egress_dials_cnt(T.dials), 0);
}
END_TEST

START_TEST(dial_what_nobody_knows_is_ignored)
{
    struct peer *peer;
    uint32_t id;
    (void)packet_from(1000);
    ck_assert(next_is_dial(&id));
    egress_dials_refused(T.dials, id + EGRESS_DIALS_MAX, CONTROL__REASON__REASON_REFUSED);
    egress_dials_refused(T.dials, id + 1, CONTROL__REASON__REASON_REFUSED);
    egress_dials_ended(T.dials, id + 1, true);
    egress_dials_ended(T.dials, id, true); /* has not begun */
    struct net_stream *s = stream(&peer);
    ck_assert(!egress_dials_channel(T.dials, id + EGRESS_DIALS_MAX, s, adit_view_mem(NULL, 0)));
    ck_assert_uint_eq(egress_dials_cnt(T.dials), 1);
    net_stream_close(s);
    struct egress_address to;
    egress_address_set(&to, "\xc0\0\2\2", 4, 443);
    egress_dials_accepted(T.dials, stream(&peer), &to); /* going nowhere that was granted */
    run_until(peer->ended);
    ck_assert_uint_eq(egress_dials_cnt(T.dials), 1);
}
END_TEST

SUITE_MAIN_WITH("egress_dial", .fixtures = {{setup, teardown}},
                TESTS(dial_begins_once_however_often_its_packet_comes, dial_table_is_bounded,
                      dial_ids_do_not_come_again, dial_what_nobody_knows_is_ignored))
