/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over socket pairs and loopback TCP. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

static struct {
    struct net_stream *s;
    size_t read_total;
    char last[64];
    int end_cnt, drain_cnt;
    int end_code; /* 0: half-close */
    bool close_in_read, close_in_end, close_in_drain, echo;
} T;

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    T.read_total += bytes.len;
    (void)snprintf(T.last, sizeof(T.last), "%.*s", bytes.len < 60 ? (int)bytes.len : 60, bytes.ptr);
    if (T.echo)
        ck_assert_int_eq(net_stream_write(s, &bytes, 1), ADIT_OK);
    if (T.close_in_read) {
        net_stream_close(s);
        T.s = NULL;
    }
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    T.end_cnt++;
    T.end_code = err ? err->code : 0;
    if (T.close_in_end) {
        net_stream_close(s);
        T.s = NULL;
    }
}

static void on_drain(struct net_stream *s)
{
    T.drain_cnt++;
    if (T.close_in_drain) {
        net_stream_close(s);
        T.s = NULL;
    }
}

static const struct net_stream_ops ops = {on_read, on_end, on_drain};

static struct peer *open_with(struct peer *(*new_peer)(int *other_fd))
{
    struct adit_err err = ADIT_ERR_INIT;
    struct peer *p;
    int fd;

    memset(&T, 0, sizeof(T));
    fixture_init();
    p = new_peer(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, &ops, &T, &T.s, &err), ADIT_OK);
    net_stream_read_start(T.s);
    return p;
}

static struct peer *open_pair(void)
{
    return open_with(peer_new);
}

static struct peer *open_tcp(void)
{
    return open_with(peer_new_tcp);
}

static void write_str(const char *text)
{
    struct adit_view v = adit_view_str(text);

    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
}

/* A pattern that shows reordering and loss. */
static char pattern_at(size_t i)
{
    return (char)('a' + (i * 7 + i / 251) % 26);
}

static char *make_pattern(size_t len)
{
    char *p = malloc(len);

    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < len; i++)
        p[i] = pattern_at(i);
    return p;
}

static void assert_pattern(const struct peer *p, size_t len)
{
    ck_assert_uint_eq(p->len, len);
    for (size_t i = 0; i < len; i++)
        if (p->bytes[i] != pattern_at(i))
            ck_abort_msg("byte %zu differs", i);
}

START_TEST(stream_echoes)
{
    struct peer *p = open_pair();

    T.echo = true;
    peer_send(p, "hello");
    run_until(p->len == 5);
    ck_assert_str_eq(p->bytes, "hello");
    ck_assert_uint_eq(net_stream_queued(T.s), 0);
    ck_assert_ptr_eq(net_stream_owner(T.s), &T);
    ck_assert_ptr_eq(net_stream_loop(T.s), &F.net);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_writes_several_views_as_one)
{
    struct peer *p = open_pair();
    struct adit_view views[] = {
        ADIT_VIEW("head "), {NULL, 0}, ADIT_VIEW("body "), ADIT_VIEW("tail")};

    ck_assert_int_eq(net_stream_write(T.s, views, 4), ADIT_OK);
    ck_assert_int_eq(net_stream_write(T.s, views + 1, 1), ADIT_OK);
    peer_read(p); /* it left at once, without a turn of the loop */
    ck_assert_str_eq(p->bytes, "head body tail");
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_queues_what_the_socket_does_not_take_in_order)
{
    enum { LEN = 3 * 1024 * 1024 };
    struct peer *p = open_pair();
    char *bytes = make_pattern(LEN);
    size_t step = 1;

    for (size_t at = 0; at < LEN; at += step) {
        step = step * 3 + 1 < LEN - at ? step * 3 + 1 : LEN - at;
        struct adit_view views[] = {{bytes + at, step / 2},
                                    {bytes + at + step / 2, step - step / 2}};
        ck_assert_int_eq(net_stream_write(T.s, views, 2), ADIT_OK);
    }
    ck_assert(net_stream_is_congested(T.s));
    ck_assert_uint_gt(net_stream_queued(T.s), NET_STREAM_HIGH);
    run_until(p->len == LEN);
    assert_pattern(p, LEN);
    run_until(T.drain_cnt);
    ck_assert_int_eq(T.drain_cnt, 1);
    ck_assert(!net_stream_is_congested(T.s));
    ck_assert_uint_eq(net_stream_queued(T.s), 0);
    free(bytes);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_many_small_writes_keep_order_while_queued)
{
    enum { CNT = 40000 };
    struct peer *p = open_pair();
    char text[16];
    size_t want = 0;

    for (int i = 0; i < CNT; i++) {
        int n = snprintf(text, sizeof(text), "%09d,", i);
        struct adit_view v = {text, (size_t)n};
        ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
        want += (size_t)n;
        if (i % 1000 == 0)
            (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    }
    run_until(p->len == want);
    for (int i = 0; i < CNT; i++)
        ck_assert_int_eq(atoi(p->bytes + (size_t)i * 10), i);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_refuses_to_queue_without_bound)
{
    static char block[1024 * 1024];
    struct peer *p = open_pair();
    struct adit_view v = {block, sizeof(block)};
    int rc = ADIT_OK, cnt = 0;

    p->is_deaf = true;
    while (rc == ADIT_OK && cnt < 100) {
        rc = net_stream_write(T.s, &v, 1);
        cnt++;
    }
    ck_assert_int_eq(rc, ADIT_ERR_LIMIT);
    ck_assert_int_le(cnt, (int)(NET_STREAM_QUEUE_MAX / sizeof(block)) + 2);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_tells_half_close_and_can_still_answer)
{
    struct peer *p = open_pair();

    peer_send(p, "last");
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt);
    ck_assert_int_eq(T.end_code, 0);
    ck_assert_str_eq(T.last, "last");
    ck_assert(net_stream_peer_has_closed(T.s));
    write_str("answer");
    net_stream_shutdown(T.s);
    run_until(p->ended);
    ck_assert_str_eq(p->bytes, "answer");
    ck_assert_int_eq(T.end_cnt, 1);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_shutdown_waits_for_the_queue)
{
    enum { LEN = 2 * 1024 * 1024 };
    struct peer *p = open_pair();
    char *bytes = make_pattern(LEN);
    struct adit_view v = {bytes, LEN};

    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    net_stream_shutdown(T.s);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    run_until(p->ended);
    assert_pattern(p, LEN);
    free(bytes);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_reading_stops_and_goes_on)
{
    struct peer *p = open_pair();

    net_stream_read_stop(T.s);
    peer_send(p, "one");
    settle();
    ck_assert_uint_eq(T.read_total, 0);
    net_stream_read_start(T.s);
    run_until(T.read_total == 3);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_may_be_closed_inside_each_callback)
{
    static char block[1024 * 1024];
    struct adit_view v = {block, sizeof(block)};
    struct peer *p = open_pair();

    T.close_in_read = true;
    peer_send(p, "x");
    run_until(p->ended);
    ck_assert_ptr_null(T.s);
    fixture_fini();

    p = open_pair();
    T.close_in_end = true;
    peer_close(p);
    run_until(T.end_cnt);
    ck_assert_ptr_null(T.s);
    fixture_fini();

    p = open_pair();
    T.close_in_drain = true;
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    run_until(p->ended);
    ck_assert_uint_eq(p->total, sizeof(block));
    ck_assert_ptr_null(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_write_to_a_closed_peer_fails_without_a_signal)
{
    struct peer *p = open_pair();
    struct adit_view v = ADIT_VIEW("x");

    peer_close(p);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    run_until(T.end_cnt);
    ck_assert_int_eq(T.end_code, ADIT_ERR_CLOSED);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_delivers_last_words_of_a_peer_that_takes_no_more)
{
    struct peer *p = open_pair();
    struct adit_view v = ADIT_VIEW("x");

    peer_send(p, "too large");
    peer_close(p);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    run_until(T.end_cnt);
    ck_assert_str_eq(T.last, "too large");
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_tells_failure_of_a_queued_write_while_reading_is_off)
{
    static char block[1024 * 1024];
    struct adit_view v = {block, sizeof(block)};
    struct peer *p = open_pair();

    net_stream_read_stop(T.s);
    p->is_deaf = true;
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    peer_close(p);
    run_until(T.end_cnt);
    ck_assert_int_eq(T.end_code, ADIT_ERR_CLOSED);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_graceful_close_sends_the_queue_and_drains_input)
{
    enum { LEN = 1024 * 1024 };
    struct peer *p = open_tcp();
    char *bytes = make_pattern(LEN);
    struct adit_view v = {bytes, LEN};

    peer_send(p, "input nobody reads");
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    net_stream_close_gracefully(T.s);
    while (!p->ended) { /* a client that goes on sending still gets everything */
        (void)peer_push(p, "more input", 10);
        turn();
    }
    ck_assert(!p->was_reset);
    assert_pattern(p, LEN);
    free(bytes);
    fixture_fini();
}
END_TEST

START_TEST(stream_graceful_close_ends_when_the_peer_closes)
{
    struct peer *p = open_pair();

    write_str("bye");
    net_stream_close_gracefully(T.s);
    run_until(p->ended);
    ck_assert_str_eq(p->bytes, "bye");
    ck_assert(uv_loop_alive(&F.uv));
    peer_close(p);
    run_until(F.net.armed_cnt == 0);
    fixture_fini();
}
END_TEST

START_TEST(stream_graceful_close_does_not_linger_for_ever)
{
    struct peer *p = open_pair();
    uint64_t begin = now_ms();

    net_stream_close_gracefully(T.s);
    run_until(p->ended);
    run_until(F.net.armed_cnt == 0);
    ck_assert_uint_ge(now_ms() - begin + 100, NET_STREAM_LINGER_MS);
    ck_assert_uint_le(now_ms() - begin, NET_STREAM_LINGER_MS + 1000);
    fixture_fini();
}
END_TEST

START_TEST(stream_graceful_close_after_half_close_ends_at_once)
{
    struct peer *p = open_pair();

    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt);
    write_str("bye");
    net_stream_close_gracefully(T.s);
    ck_assert_uint_eq(F.net.armed_cnt, 0);
    run_until(p->ended);
    fixture_fini();
}
END_TEST

START_TEST(stream_reset_is_seen_as_reset_on_tcp)
{
    struct peer *p = open_tcp();

    write_str("half of an ans");
    net_stream_reset(T.s);
    run_until(p->ended);
    ck_assert(p->was_reset);
    fixture_fini();
}
END_TEST

START_TEST(stream_tells_a_reset_of_the_peer_as_error)
{
    const struct linger at_once = {1, 0};
    struct peer *p = open_tcp();

    ck_assert_int_eq(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    peer_close(p);
    run_until(T.end_cnt);
    ck_assert_int_eq(T.end_code, ADIT_ERR_CLOSED);
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_names_its_peer)
{
    (void)open_pair();
    ck_assert_str_eq(net_stream_peer(T.s), "unix");
    ck_assert_uint_eq(net_stream_peer_cid(T.s), 0);
    net_stream_close(T.s);
    fixture_fini();

    (void)open_tcp();
    ck_assert_str_eq(net_stream_peer(T.s), "127.0.0.1");
    ck_assert_str_eq(net_stream_peer(T.s), "127.0.0.1"); /* kept */
    net_stream_close(T.s);
    fixture_fini();
}
END_TEST

START_TEST(stream_refuses_what_is_no_socket_and_closes_it)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *s;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    fixture_init();
    ck_assert_int_ne(net_stream_open_fd(&F.net, fd, &ops, NULL, &s, &err), ADIT_OK);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    fixture_fini();
}
END_TEST

SUITE_MAIN("stream", stream_echoes, stream_writes_several_views_as_one,
           stream_queues_what_the_socket_does_not_take_in_order,
           stream_many_small_writes_keep_order_while_queued, stream_refuses_to_queue_without_bound,
           stream_tells_half_close_and_can_still_answer, stream_shutdown_waits_for_the_queue,
           stream_reading_stops_and_goes_on, stream_may_be_closed_inside_each_callback,
           stream_write_to_a_closed_peer_fails_without_a_signal,
           stream_delivers_last_words_of_a_peer_that_takes_no_more,
           stream_tells_failure_of_a_queued_write_while_reading_is_off,
           stream_graceful_close_sends_the_queue_and_drains_input,
           stream_graceful_close_ends_when_the_peer_closes,
           stream_graceful_close_does_not_linger_for_ever,
           stream_graceful_close_after_half_close_ends_at_once,
           stream_reset_is_seen_as_reset_on_tcp, stream_tells_a_reset_of_the_peer_as_error,
           stream_names_its_peer, stream_refuses_what_is_no_socket_and_closes_it)
