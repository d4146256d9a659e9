/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server seen by raw clients over socket pairs. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

#include <malloc.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/http_server.h"

/* What the handler does, chosen by the request's path, and what it saw. */
static struct {
    struct http_server *s;
    struct http_exchange *x; /* the last one, while it lives */
    char target[256];
    int request_cnt, end_cnt, drain_cnt, abort_cnt, drained_cnt;
    int abort_code;
    size_t body_len;
    char body[4096];
} T;

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    size_t room =
        sizeof(T.body) - 1 - (T.body_len < sizeof(T.body) ? T.body_len : sizeof(T.body) - 1);
    size_t part = bytes.len < room ? bytes.len : room;

    ck_assert_ptr_eq(x, T.x);
    ck_assert_uint_gt(bytes.len, 0);
    if (part)
        memcpy(T.body + T.body_len, bytes.ptr, part);
    T.body_len += bytes.len;
    if (strcmp(T.target, "/pause-each") == 0)
        http_exchange_pause(x);
    if (strcmp(T.target, "/echo-raw") == 0)
        ck_assert_int_eq(http_exchange_write(x, bytes), ADIT_OK);
}

static void on_end(struct http_exchange *x)
{
    ck_assert_ptr_eq(x, T.x);
    T.end_cnt++;
    if (strcmp(T.target, "/at-end") == 0) {
        T.x = NULL;
        http_exchange_reply(x, 200, str("whole"));
    }
}

static void on_drain(struct http_exchange *x)
{
    ck_assert_ptr_eq(x, T.x);
    T.drain_cnt++;
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    ck_assert_ptr_eq(x, T.x);
    T.abort_cnt++;
    T.abort_code = err->code;
    T.x = NULL;
}

static const struct http_exchange_ops ops = {on_body, on_end, on_drain, on_abort};

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    T.request_cnt++;
    T.x = x;
    (void)snprintf(T.target, sizeof(T.target), "%.*s", ADIT_VIEW_ARG(head->target));
    http_exchange_set_ops(x, &ops, &T);
    ck_assert_ptr_eq(http_exchange_user(x), &T);
    ck_assert_ptr_eq(http_exchange_server(x), T.s);
    if (strncmp(T.target, "/now", 4) == 0) {
        T.x = NULL;
        ck_assert_int_eq(http_exchange_header_str(x, "X-Path", T.target), ADIT_OK);
        http_exchange_reply(x, 200, str(T.target));
        ck_assert(adit_view_eq_str(head->target, T.target)); /* the head stays valid */
    } else if (strcmp(T.target, "/no-content") == 0) {
        T.x = NULL;
        http_exchange_reply(x, 204, str("never sent"));
    } else if (strcmp(T.target, "/paused") == 0) {
        http_exchange_pause(x);
    } else if (strcmp(T.target, "/echo-raw") == 0) {
        ck_assert_int_eq(http_exchange_header_str(x, "Upgrade", "echo"), ADIT_OK);
        http_exchange_begin(x, 101, HTTP_FRAMING_RAW, 0);
    } else if (strcmp(T.target, "/reset") == 0) {
        T.x = NULL;
        http_exchange_reset(x);
    } else if (strcmp(T.target, "/bad-header") == 0) {
        ck_assert_int_eq(http_exchange_header_str(x, "X", "a\r\nEvil: 1"), ADIT_ERR_BAD_INPUT);
        ck_assert_int_eq(http_exchange_header_str(x, "X\nY", "a"), ADIT_ERR_BAD_INPUT);
        T.x = NULL;
        http_exchange_reply(x, 200, str("clean"));
    }
}

static struct http_server_conf default_conf(void)
{
    struct http_server_conf conf = {.header_ms = 30000,
                                    .body_ms = 30000,
                                    .idle_ms = 30000,
                                    .owner = &T,
                                    .on_request = on_request};

    return conf;
}

static void start_server(const struct http_server_conf *conf)
{
    struct adit_err err = ADIT_ERR_INIT;

    memset(&T, 0, sizeof(T));
    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, conf, &T.s, &err), ADIT_OK);
    ck_assert_ptr_eq(http_server_owner(T.s), &T);
}

static struct peer *connect_client(void)
{
    int fd;
    struct peer *p = peer_new(&fd);

    http_server_accept(T.s, fd);
    return p;
}

static struct peer *start(void)
{
    struct http_server_conf conf = default_conf();

    start_server(&conf);
    return connect_client();
}

/* The same over loopback TCP, where a reset can be told from an end. */
static struct peer *start_tcp(void)
{
    struct http_server_conf conf = default_conf();
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;

    start_server(&conf);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(listen_fd, 1), 0);
    ck_assert_int_eq(getsockname(listen_fd, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    accepted = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_eq(close(listen_fd), 0);
    http_server_accept(T.s, accepted);
    return peer_of_fd(fd);
}

static void on_drained(void *owner)
{
    ck_assert_ptr_eq(owner, &T);
    T.drained_cnt++;
}

static void finish(void)
{
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    http_server_drain(T.s, 0, on_drained);
    run_until(T.drained_cnt == 1);
    fixture_fini();
}

static void take(struct http_exchange **x)
{
    ck_assert_ptr_nonnull(T.x);
    *x = T.x;
    T.x = NULL;
}

/* ---- answers ---- */

START_TEST(http_server_answers_and_keeps_the_connection)
{
    struct peer *p = start();

    for (int i = 0; i < 3; i++) {
        peer_forget(p);
        peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        run_until(peer_has(p, "\r\n\r\n/now"));
        ck_assert(strncmp(p->bytes, "HTTP/1.1 200 OK\r\n", 17) == 0);
        ck_assert(peer_has(p, "\r\nContent-Length: 4\r\n"));
        ck_assert(peer_has(p, "\r\nX-Path: /now\r\n"));
        ck_assert(peer_has(p, "\r\nDate: "));
        ck_assert(peer_has(p, " GMT\r\n"));
        ck_assert(!peer_has(p, "Connection:"));
    }
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 1);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    ck_assert(!p->ended);
    finish();
}
END_TEST

START_TEST(http_server_has_no_trailers)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert(!http_exchange_has_trailers(x));
    ck_assert_int_eq(http_exchange_trailer(x, str("a"), str("b")), ADIT_ERR_UNIMPLEMENTED);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(!peer_has(p, "a: b"));
    finish();
}
END_TEST

START_TEST(http_server_takes_a_head_byte_by_byte)
{
    static const char request[] =
        "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    struct peer *p = start();

    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        peer_send_mem(p, request + i, 1);
        turn();
    }
    run_until(peer_has(p, "whole"));
    ck_assert_str_eq(T.body, "abc");
    finish();
}
END_TEST

START_TEST(http_server_serves_pipelined_requests_in_order)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /now/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /now/3 HTTP/1.1\r\nHost: a\r\n\r\nGET /now/4 HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 2);
    settle();
    ck_assert_int_eq(T.request_cnt, 2); /* the third waits for the second's answer */
    take(&x);
    http_exchange_reply(x, 200, str("/2"));
    ck_assert_int_eq(T.request_cnt, 2); /* not inside the handler's call */
    run_until(peer_count(p, "HTTP/1.1 200") == 4);
    ck_assert(strstr(p->bytes, "\n/now/1") < strstr(p->bytes, "\n/2"));
    ck_assert(strstr(p->bytes, "\n/2") < strstr(p->bytes, "\n/now/3"));
    ck_assert(strstr(p->bytes, "\n/now/3") < strstr(p->bytes, "\n/now/4"));
    finish();
}
END_TEST

START_TEST(http_server_serves_many_pipelined_requests_in_several_turns)
{
    static const char request[] = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { CNT = 1000 };
    static char all[CNT * (sizeof(request) - 1)];
    struct peer *p = start();

    for (size_t i = 0; i < CNT; i++)
        memcpy(all + i * (sizeof(request) - 1), request, sizeof(request) - 1);
    peer_send_mem(p, all, sizeof(all));
    run_until(peer_count(p, "HTTP/1.1 200") == CNT);
    ck_assert_int_eq(T.request_cnt, CNT);
    finish();
}
END_TEST

/* A client that asks and asks and never reads must not fill our memory with answers. */
START_TEST(http_server_takes_no_request_while_its_answers_are_not_read)
{
    static const char request[] = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { CNT = 1000, LEN = sizeof(request) - 1 };
    static char all[CNT * LEN];
    struct peer *p = start();
    size_t sent = 0;

    for (size_t i = 0; i < CNT; i++)
        memcpy(all + i * LEN, request, LEN);
    p->is_deaf = true;
    for (int idle = 0; idle < 10; idle++) {
        size_t n = peer_push(p, all + sent % sizeof(all), sizeof(all) - sent % sizeof(all));
        sent += n;
        if (n)
            idle = 0;
        settle();
    }
    ck_assert_uint_lt((size_t)T.request_cnt * 100, 4 * NET_STREAM_HIGH); /* an answer has more */
    p->is_deaf = false;
    run_until((size_t)T.request_cnt == sent / LEN);
    run_until(peer_count(p, "HTTP/1.1 200") == sent / LEN);
    finish();
}
END_TEST

START_TEST(http_server_answers_head_without_a_body)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert(peer_has(p, "Content-Length: 4\r\n"));
    ck_assert(!peer_has(p, "\r\n\r\n/"));
    peer_forget(p);
    peer_send(p, "HEAD /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(x, str("body")), ADIT_OK);
    http_exchange_end(x);
    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"); /* still in step */
    run_until(peer_has(p, "\r\n\r\n/now"));
    ck_assert(!peer_has(p, "body"));
    finish();
}
END_TEST

START_TEST(http_server_never_sends_a_body_with_204)
{
    struct peer *p = start();

    peer_send(p, "GET /no-content HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "/now"));
    ck_assert(peer_has(p, "HTTP/1.1 204 No Content\r\n"));
    ck_assert(!peer_has(p, "never sent"));
    ck_assert(!peer_has(p, "Content-Length: 10"));
    finish();
}
END_TEST

START_TEST(http_server_closes_after_a_1_0_request_unless_asked)
{
    struct peer *p = start();
    struct peer *q;

    peer_send(p, "GET /now HTTP/1.0\r\n\r\n");
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    q = connect_client();
    peer_send(q, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    run_until(peer_has(q, "\r\n\r\n/now"));
    ck_assert(peer_has(q, "Connection: keep-alive\r\n"));
    settle();
    ck_assert(!q->ended);
    finish();
}
END_TEST

START_TEST(http_server_closes_when_the_client_asks)
{
    struct peer *p = start();

    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                 "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert_int_eq(T.request_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_server_streams_chunks_to_1_1_and_until_close_to_1_0)
{
    struct peer *p = start();
    struct peer *q;
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    peer_read(p);
    ck_assert_uint_eq(p->len, 0); /* the head waits for the first bytes */
    ck_assert_int_eq(http_exchange_write(x, str("first ")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(x, str("second")), ADIT_OK);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(peer_has(p, "Transfer-Encoding: chunked\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"));

    q = connect_client();
    peer_send(q, "GET /streamed HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    run_until(T.end_cnt == 2);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(x, str("first ")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(x, str("second")), ADIT_OK);
    http_exchange_end(x);
    run_until(q->ended);
    ck_assert(!peer_has(q, "chunked"));
    ck_assert(peer_has(q, "Connection: close\r\n"));
    ck_assert(peer_has(q, "\r\n\r\nfirst second"));
    finish();
}
END_TEST

START_TEST(http_server_sends_a_begun_head_at_the_next_turn_or_flush)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 2);
    run_until(peer_has(p, "Content-Length: 2\r\n"));
    take(&x);
    ck_assert_int_eq(http_exchange_write(x, str("ok")), ADIT_OK);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n\r\nok"));
    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 2);
    peer_forget(p);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    http_exchange_flush(T.x);
    peer_read(p);
    ck_assert(peer_has(p, "chunked\r\n"));
    take(&x);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n\r\n0\r\n\r\n"));
    finish();
}
END_TEST

START_TEST(http_server_resets_an_answer_that_breaks_its_length)
{
    struct peer *p = start_tcp();
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_LENGTH, 10);
    ck_assert_int_eq(http_exchange_write(x, str("short")), ADIT_OK);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(p->was_reset);
    finish();
}
END_TEST

START_TEST(http_server_aborts_an_answer_longer_than_announced)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 3);
    ck_assert_int_eq(http_exchange_write(T.x, str("ab")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(T.x, str("cd")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(T.abort_cnt, 0); /* not inside the call */
    run_until(T.abort_cnt == 1);
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert(!peer_has(p, "cd"));
    finish();
}
END_TEST

START_TEST(http_server_reset_is_a_reset)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_refuses_header_injection_and_sends_the_rest)
{
    struct peer *p = start();

    peer_send(p, "GET /bad-header HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "clean"));
    ck_assert(!peer_has(p, "Evil"));
    finish();
}
END_TEST

/* ---- bodies ---- */

START_TEST(http_server_gives_bodies_of_length_and_chunks)
{
    struct peer *p = start();

    peer_send(p, "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    run_until(peer_has(p, "whole"));
    ck_assert_str_eq(T.body, "hello");
    peer_forget(p);
    T.body_len = 0;
    peer_send(p, "POST /at-end HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    run_until(peer_has(p, "whole"));
    ck_assert_int_eq(memcmp(T.body, "abcdefg", 7), 0);
    ck_assert_uint_eq(T.body_len, 7);
    ck_assert_int_eq(T.end_cnt, 2);
    finish();
}
END_TEST

START_TEST(http_server_pause_bounds_what_is_read)
{
    enum { LEN = 2 * 1024 * 1024 };
    static char block[65536];
    struct peer *p = start();
    struct http_exchange *x;
    char head[128];
    size_t sent = 0, before;

    memset(block, 'x', sizeof(block));
    (void)snprintf(head, sizeof(head),
                   "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LEN);
    peer_send(p, head);
    for (int i = 0; i < 100; i++) {
        sent += peer_push(p, block, sizeof(block));
        settle();
    }
    ck_assert_uint_eq(T.body_len, 0);
    ck_assert_uint_lt(sent, LEN); /* the client is held back */
    before = sent;
    settle();
    ck_assert_uint_eq(peer_push(p, block, sizeof(block)), 0);
    ck_assert_uint_eq(before, sent);
    http_exchange_resume(T.x);
    ck_assert_uint_eq(T.body_len, 0); /* not inside the call */
    while (sent < LEN) {
        sent += peer_push(p, block, sizeof(block) < LEN - sent ? sizeof(block) : LEN - sent);
        turn();
    }
    run_until(T.end_cnt == 1);
    ck_assert_uint_eq(T.body_len, LEN);
    take(&x);
    http_exchange_reply(x, 200, str("got it"));
    run_until(peer_has(p, "got it"));
    ck_assert(!peer_has(p, "Connection: close"));
    finish();
}
END_TEST

START_TEST(http_server_tells_the_end_of_a_body_that_ended_while_paused)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "POST /pause-each HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    run_until(T.body_len == 2);
    settle();
    ck_assert_int_eq(T.end_cnt, 0);
    http_exchange_resume(T.x);
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_reply(x, 200, str("done"));
    run_until(peer_has(p, "done"));
    finish();
}
END_TEST

START_TEST(http_server_write_side_is_bounded_and_drains)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct peer *p = start();
    struct http_exchange *x;
    size_t sent = 0;

    p->is_deaf = true;
    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    while (!http_exchange_is_congested(T.x)) {
        ck_assert_int_eq(http_exchange_write(T.x, bytes), ADIT_OK);
        sent += bytes.len;
        ck_assert_uint_lt(sent, 4 * 1024 * 1024);
    }
    ck_assert_uint_le(net_stream_queued(http_exchange_stream(T.x)),
                      NET_STREAM_HIGH + 2 * sizeof(block));
    settle();
    ck_assert_int_eq(T.drain_cnt, 0);
    p->is_deaf = false;
    run_until(T.drain_cnt == 1);
    ck_assert(!http_exchange_is_congested(T.x));
    take(&x);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n0\r\n\r\n"));
    ck_assert_uint_gt(p->total, sent);
    finish();
}
END_TEST

START_TEST(http_server_sends_100_continue_when_it_reads_on)
{
    struct peer *p = start();

    peer_send(
        p, "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ab");
    run_until(peer_has(p, "whole"));
    ck_assert_uint_eq(peer_count(p, "100 Continue"), 1);
    finish();
}
END_TEST

START_TEST(http_server_sends_100_continue_only_after_resume)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(T.request_cnt == 1);
    settle();
    ck_assert_uint_eq(p->len, 0);
    http_exchange_resume(T.x);
    run_until(peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ab");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_reply(x, 200, str("fine"));
    run_until(peer_has(p, "fine"));
    finish();
}
END_TEST

START_TEST(http_server_sends_no_100_continue_when_it_answers_at_once)
{
    struct peer *p = start();

    peer_send(p,
              "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(p->ended);
    ck_assert(!peer_has(p, "100 Continue"));
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n/now"));
    finish();
}
END_TEST

START_TEST(http_server_delivers_an_early_answer_to_a_client_that_still_sends)
{
    enum { LEN = 8 * 1024 * 1024 };
    static char block[65536];
    struct peer *p = start_tcp();
    char head[128];
    size_t sent = 0;

    (void)snprintf(head, sizeof(head),
                   "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LEN);
    peer_send(p, head);
    while (!p->ended && sent < LEN) { /* the client reads nothing special, it just goes on */
        sent += peer_push(p, block, sizeof(block));
        turn();
    }
    run_until(p->ended);
    ck_assert(!p->was_reset);
    ck_assert(peer_has(p, "\r\n\r\n/now"));
    ck_assert(peer_has(p, "Connection: close\r\n"));
    finish();
}
END_TEST

/* A streamed answer to a chunked POST that ends before the last chunk came. */
static struct peer *answer_before_the_last_chunk(void)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n0\r\n\r\n"));
    ck_assert(!peer_has(p, "Connection: close"));
    return p;
}

START_TEST(http_server_keeps_the_connection_when_the_last_chunk_comes_after_the_answer)
{
    struct peer *p = answer_before_the_last_chunk();

    settle();
    ck_assert(!p->ended);
    peer_send(p, "0\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n/now"));
    ck_assert_uint_eq(T.body_len, 2);
    ck_assert_int_eq(T.end_cnt + T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_reads_no_endless_body_after_the_answer)
{
    struct peer *p = answer_before_the_last_chunk();
    char chunk[16 + 4096];
    int head_len = snprintf(chunk, sizeof(chunk), "1000\r\n");
    size_t sent = 0;

    memset(chunk + head_len, 'x', 4096);
    memcpy(chunk + head_len + 4096, "\r\n", 2);
    while (!p->ended) {
        sent += peer_push(p, chunk, (size_t)head_len + 4098);
        turn();
        ck_assert_uint_le(sent, 4u * HTTP_SERVER_REST_MAX);
    }
    ck_assert_uint_gt(sent, HTTP_SERVER_REST_MAX);
    finish();
}
END_TEST

START_TEST(http_server_drain_closes_when_the_rest_of_a_body_has_come)
{
    struct peer *p = answer_before_the_last_chunk();

    http_server_drain(T.s, 30000, on_drained);
    peer_send(p, "0\r\n\r\n");
    run_until(p->ended);
    run_until(T.drained_cnt == 1);
    fixture_fini();
}
END_TEST

START_TEST(http_server_closes_after_an_early_streamed_answer_to_a_client_that_waits_for_100)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(T.request_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    finish();
}
END_TEST

/* ---- refusals and timers ---- */

START_TEST(http_server_refuses_a_broken_head_with_400)
{
    struct peer *p = start_tcp();

    peer_send(
        p, "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(!p->was_reset);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 400 Bad Request\r\n", 26) == 0);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert(peer_has(p, "Content-Type: text/plain"));
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_refuses_too_long_a_head_with_431)
{
    static char line[HTTP_LINE_CAP + 2];
    struct peer *p = start();

    memset(line, 'a', sizeof(line));
    peer_send(p, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    peer_send_mem(p, line, sizeof(line));
    run_until(p->ended);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 431 ", 13) == 0);
    finish();
}
END_TEST

static void refuse(struct http_server *s, unsigned status, const char *message,
                   struct adit_buf *out_headers, struct adit_buf *out_body)
{
    ck_assert_ptr_eq(s, T.s);
    ck_assert_int_eq(adit_buf_append_str(out_headers, "Content-Type: application/json\r\n"),
                     ADIT_OK);
    ck_assert_int_eq(
        adit_buf_appendf(out_body, "{\"code\":%u,\"message\":\"%s\"}", status, message), ADIT_OK);
}

START_TEST(http_server_refuses_in_the_owners_form)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.on_refuse = refuse;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET / HTTP/2.0\r\n\r\n");
    run_until(p->ended);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 505 ", 13) == 0);
    ck_assert(peer_has(p, "application/json\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n{\"code\":505,"));
    finish();
}
END_TEST

START_TEST(http_server_tells_the_handler_of_a_broken_body_and_answers_400)
{
    struct peer *p = start();

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    peer_send(p, "zz\r\n");
    run_until(p->ended);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_int_eq(T.end_cnt, 0);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 400 ", 13) == 0);
    finish();
}
END_TEST

START_TEST(http_server_resets_when_a_body_breaks_after_the_answer_began)
{
    struct peer *p = start_tcp();

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("early")), ADIT_OK);
    peer_send(p, "zz\r\n");
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_uint_eq(peer_count(p, "HTTP/1.1"), 1);
    finish();
}
END_TEST

START_TEST(http_server_answers_408_to_a_head_that_drips)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;
    uint64_t begin = now_ms(), next = begin;

    conf.header_ms = 300;
    start_server(&conf);
    p = connect_client();
    while (!p->ended) {
        if (now_ms() >= next) {
            (void)peer_push(p, "G", 1);
            next = now_ms() + 10;
        }
        turn();
        ck_assert_uint_lt(now_ms(), begin + RUN_LIMIT_MS);
    }
    ck_assert_uint_ge(now_ms() - begin + 5, 300);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 408 Request Timeout\r\n", 30) == 0);
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_stops_the_heads_timer_when_a_whole_request_came_at_once)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.header_ms = conf.body_ms = conf.idle_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 1);
    begin = now_ms();
    run_until(now_ms() - begin > 400);
    ck_assert_int_eq(T.abort_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("at last"));
    run_until(peer_has(p, "at last"));
    finish();
}
END_TEST

START_TEST(http_server_closes_a_connection_that_says_nothing)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.header_ms = 100;
    start_server(&conf);
    p = connect_client();
    run_until(p->ended);
    ck_assert_uint_eq(p->len, 0);
    finish();
}
END_TEST

START_TEST(http_server_closes_an_idle_connection_quietly)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.idle_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert_uint_eq(peer_count(p, "HTTP/1.1"), 1);
    ck_assert(!peer_has(p, "408"));
    finish();
}
END_TEST

START_TEST(http_server_answers_408_to_a_body_that_stalls)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.body_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(p->ended);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 408 ", 13) == 0);
    finish();
}
END_TEST

START_TEST(http_server_does_not_time_a_body_that_it_paused_itself)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.body_ms = 50;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.request_cnt == 1);
    begin = now_ms();
    run_until(now_ms() - begin > 250);
    ck_assert_int_eq(T.abort_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("ok"));
    run_until(p->ended);
    finish();
}
END_TEST

START_TEST(http_server_does_not_time_a_body_once_the_answer_began)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.body_ms = 50;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n");
    run_until(T.body_len == 3);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    begin = now_ms();
    run_until(now_ms() - begin > 250);
    ck_assert_int_eq(T.abort_cnt, 0);
    peer_send(p, "3\r\ndef\r\n0\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(strncmp(p->bytes, "HTTP/1.1 200 ", 13) == 0);
    finish();
}
END_TEST

/* ---- clients that go away ---- */

START_TEST(http_server_tells_the_handler_that_the_client_is_gone)
{
    struct peer *p = start();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_OK);
    peer_close(p);
    run_until(T.abort_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http_server_write_to_a_gone_client_fails_and_abort_comes_later)
{
    struct peer *p = start();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    peer_close(p);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(T.abort_cnt, 0);
    run_until(T.abort_cnt == 1);
    settle();
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_server_drops_an_answer_to_a_gone_client)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    peer_close(p);
    take(&x);
    http_exchange_reply(x, 200, str("too late"));
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_aborts_when_the_client_closes_in_a_body)
{
    struct peer *p = start();

    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.body_len == 3);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.abort_cnt == 1);
    run_until(p->ended);
    ck_assert_int_eq(T.end_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_notices_a_gone_client_while_paused)
{
    struct peer *p = start();

    peer_send(p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.request_cnt == 1);
    settle();
    peer_close(p);
    run_until(T.abort_cnt == 1);
    finish();
}
END_TEST

/* ---- raw ---- */

static struct peer *upgraded(void)
{
    struct peer *p = start();

    peer_send(p,
              "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert(strncmp(p->bytes, "HTTP/1.1 101 Switching Protocols\r\n", 34) == 0);
    ck_assert(peer_has(p, "Connection: Upgrade\r\n"));
    ck_assert(peer_has(p, "Upgrade: echo\r\n"));
    ck_assert(!peer_has(p, "Content-Length"));
    ck_assert(!peer_has(p, "Transfer-Encoding"));
    peer_forget(p);
    return p;
}

START_TEST(http_server_raw_carries_bytes_and_the_clients_half_close_first)
{
    struct peer *p = upgraded();
    struct http_exchange *x;

    peer_send(p, "GET / not http\r\n\r\n");
    run_until(peer_has(p, "GET / not http\r\n\r\n"));
    ck_assert_int_eq(T.end_cnt, 0);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    ck_assert_int_eq(http_exchange_write(T.x, str("last words")), ADIT_OK);
    take(&x);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(peer_has(p, "last words"));
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http_server_raw_goes_on_reading_after_our_half_close)
{
    struct peer *p = upgraded();

    strcpy(T.target, "/raw");
    http_exchange_end(T.x);
    run_until(p->ended);
    T.body_len = 0;
    peer_send(p, "still here");
    run_until(T.body_len == 10);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_raw_does_not_stay_half_closed_without_a_byte)
{
    struct http_server_conf conf = default_conf();
    uint64_t begin, last = 0;
    struct peer *p;

    conf.idle_ms = 200;
    start_server(&conf);
    p = connect_client();
    peer_send(p,
              "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    begin = now_ms();
    while (now_ms() < begin + 600) { /* not while bytes go the other way */
        if (now_ms() > last + 50) {
            ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_OK);
            last = now_ms();
        }
        turn();
    }
    run_until(T.abort_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    finish();
}
END_TEST

START_TEST(http_server_raw_takes_bytes_sent_behind_the_head)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p,
        "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    run_until(peer_has(p, "\r\n\r\nearly"));
    take(&x);
    http_exchange_reset(x);
    run_until(p->ended);
    finish();
}
END_TEST

START_TEST(http_server_refuses_raw_nobody_asked_for)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /echo-raw HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(!peer_has(p, "101"));
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

/* ---- servers ---- */

START_TEST(http_server_adopts_a_stream_with_bytes_already_read)
{
    struct http_server_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *s;
    struct peer *p;
    int fd;

    start_server(&conf);
    p = peer_new(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, NULL, NULL, &s, &err), ADIT_OK);
    http_server_adopt(T.s, s, str("GET /now/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /now/2 HT"));
    peer_send(p, "TP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n/now/2"));
    ck_assert(peer_has(p, "\r\n\r\n/now/1"));
    finish();
}
END_TEST

START_TEST(http_server_closes_connections_beyond_the_maximum)
{
    struct http_server_conf conf = default_conf();
    struct peer *a, *b, *c;

    conf.connections_max = 2;
    start_server(&conf);
    a = connect_client();
    b = connect_client();
    c = connect_client();
    run_until(c->ended);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 2);
    peer_close(a);
    run_until(http_server_connection_cnt(T.s) == 1);
    a = connect_client();
    peer_send(a, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(a, "/now"));
    ck_assert(!b->ended);
    finish();
}
END_TEST

START_TEST(http_server_drain_lets_running_exchanges_end)
{
    struct peer *idle = start(), *running = connect_client();
    struct http_exchange *x;

    peer_send(running, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_server_drain(T.s, 30000, on_drained);
    run_until(idle->ended);
    settle();
    ck_assert_int_eq(T.drained_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("in time"));
    run_until(running->ended);
    ck_assert(peer_has(running, "Connection: close\r\n"));
    ck_assert(peer_has(running, "in time"));
    run_until(T.drained_cnt == 1);
    fixture_fini();
}
END_TEST

START_TEST(http_server_drain_resets_when_the_grace_is_over)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_server_drain(T.s, 100, on_drained);
    run_until(T.drained_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_CANCELED);
    run_until(p->ended);
    ck_assert(p->was_reset);
    fixture_fini();
}
END_TEST

START_TEST(http_server_ten_thousand_requests_do_not_grow)
{
    struct peer *p = start();
    size_t before = 0;

    for (int i = 0; i < 10000; i++) {
        peer_forget(p);
        peer_send(p, i % 2 ? "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                           : "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        T.body_len = 0;
        run_until(peer_has(p, i % 2 ? "whole" : "\r\n\r\n/now"));
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_int_eq(T.request_cnt, 10000);
    finish();
}
END_TEST

static struct {
    int cnt;
    void *note;
    struct http_outcome outcome;
} over;

static void on_over(struct http_exchange *x)
{
    over.cnt++;
    over.note = http_exchange_note(x);
    over.outcome = http_exchange_outcome(x);
}

static void expect_over(unsigned status, bool is_whole, uint64_t sent_len)
{
    run_until(over.cnt == 1);
    ck_assert_uint_eq(over.outcome.status, status);
    ck_assert(over.outcome.is_whole == is_whole);
    ck_assert_uint_eq(over.outcome.sent_len, sent_len);
    over.cnt = 0;
}

START_TEST(http_server_tells_once_how_each_exchange_ended)
{
    static char note;
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.on_over = on_over;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(200, true, 4);
    ck_assert_ptr_null(over.note);
    ck_assert_ptr_null(over.outcome.verdict);
    peer_send(p, "GET /no-content HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(204, true, 0);
    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(T.x);
    http_exchange_set_note(T.x, &note);
    http_exchange_set_verdict(T.x, "well");
    http_exchange_begin(T.x, 201, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("abc")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(T.x, str("de")), ADIT_OK);
    http_exchange_end(T.x);
    T.x = NULL;
    expect_over(201, true, 5);
    ck_assert_ptr_eq(over.note, &note);
    ck_assert_str_eq(over.outcome.verdict, "well");
    peer_send(p, "GET /left HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(T.x);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 10);
    ck_assert_int_eq(http_exchange_write(T.x, str("half")), ADIT_OK);
    peer_close(p);
    expect_over(200, false, 4);
    ck_assert_ptr_null(over.note);
    p = connect_client();
    peer_send(p, "GET /reset HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(0, false, 0);
    finish();
}
END_TEST

SUITE_MAIN(
    "http_server", http_server_answers_and_keeps_the_connection, http_server_has_no_trailers,
    http_server_takes_a_head_byte_by_byte, http_server_serves_pipelined_requests_in_order,
    http_server_serves_many_pipelined_requests_in_several_turns,
    http_server_takes_no_request_while_its_answers_are_not_read,
    http_server_answers_head_without_a_body, http_server_never_sends_a_body_with_204,
    http_server_closes_after_a_1_0_request_unless_asked, http_server_closes_when_the_client_asks,
    http_server_streams_chunks_to_1_1_and_until_close_to_1_0,
    http_server_sends_a_begun_head_at_the_next_turn_or_flush,
    http_server_resets_an_answer_that_breaks_its_length,
    http_server_aborts_an_answer_longer_than_announced, http_server_reset_is_a_reset,
    http_server_refuses_header_injection_and_sends_the_rest,
    http_server_gives_bodies_of_length_and_chunks, http_server_pause_bounds_what_is_read,
    http_server_tells_the_end_of_a_body_that_ended_while_paused,
    http_server_write_side_is_bounded_and_drains, http_server_sends_100_continue_when_it_reads_on,
    http_server_sends_100_continue_only_after_resume,
    http_server_sends_no_100_continue_when_it_answers_at_once,
    http_server_delivers_an_early_answer_to_a_client_that_still_sends,
    http_server_keeps_the_connection_when_the_last_chunk_comes_after_the_answer,
    http_server_reads_no_endless_body_after_the_answer,
    http_server_drain_closes_when_the_rest_of_a_body_has_come,
    http_server_closes_after_an_early_streamed_answer_to_a_client_that_waits_for_100,
    http_server_refuses_a_broken_head_with_400, http_server_refuses_too_long_a_head_with_431,
    http_server_refuses_in_the_owners_form,
    http_server_tells_the_handler_of_a_broken_body_and_answers_400,
    http_server_resets_when_a_body_breaks_after_the_answer_began,
    http_server_answers_408_to_a_head_that_drips,
    http_server_stops_the_heads_timer_when_a_whole_request_came_at_once,
    http_server_closes_a_connection_that_says_nothing,
    http_server_closes_an_idle_connection_quietly, http_server_answers_408_to_a_body_that_stalls,
    http_server_does_not_time_a_body_that_it_paused_itself,
    http_server_does_not_time_a_body_once_the_answer_began,
    http_server_tells_the_handler_that_the_client_is_gone,
    http_server_write_to_a_gone_client_fails_and_abort_comes_later,
    http_server_drops_an_answer_to_a_gone_client,
    http_server_aborts_when_the_client_closes_in_a_body,
    http_server_notices_a_gone_client_while_paused,
    http_server_raw_carries_bytes_and_the_clients_half_close_first,
    http_server_raw_goes_on_reading_after_our_half_close,
    http_server_raw_does_not_stay_half_closed_without_a_byte,
    http_server_raw_takes_bytes_sent_behind_the_head, http_server_refuses_raw_nobody_asked_for,
    http_server_adopts_a_stream_with_bytes_already_read,
    http_server_closes_connections_beyond_the_maximum, http_server_drain_lets_running_exchanges_end,
    http_server_tells_once_how_each_exchange_ended, http_server_drain_resets_when_the_grace_is_over,
    http_server_ten_thousand_requests_do_not_grow)
