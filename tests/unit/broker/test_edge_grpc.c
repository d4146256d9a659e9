/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's replies as a gRPC client over HTTP/2 gets them. */
#include "tests/unit/suite.h"

#include "tests/unit/net/http2_client.h"

#include "broker/edge/edge_grpc.h"
#include "net/http2_server.h"

#define WEB "content-type: application/grpc-web+proto\r\n"
#define TRAILERS "\x80\0\0\0\x1cgrpc-status: 5\r\nx-more: y\r\n\n"

/* What the guest replies, and what the client sees. */
static const struct row {
    const char *what, *head, *body;
    size_t body_len;
    const char *type, *status; /* fields of the answer */
    size_t message_len;
    bool has_trailers, is_reset;
} rows[] = {
    {"messages and trailers", "200 OK\r\n" WEB "x: y\r\n", "\0\0\0\0\2hi" TRAILERS, 7 + 5 + 28,
     "content-type: application/grpc+proto\n", "grpc-status: 5\n", 7, true, false},
    {"trailers alone", "200 OK\r\ncontent-type: application/grpc-web\r\n", TRAILERS, 5 + 28,
     "content-type: application/grpc\n", "grpc-status: 5\n", 0, true, false},
    {"a status in the head", "200 OK\r\n" WEB "grpc-status: 7\r\n", "", 0,
     "content-type: application/grpc+proto\n", "grpc-status: 7\n", 0, false, false},
    {"no trailers", "200 OK\r\n" WEB, "\0\0\0\0\2hi", 7, "content-type: application/grpc+proto\n",
     "grpc-status: 13\n", 7, true, false},
    {"an odd flag", "200 OK\r\n" WEB, "\7\0\0\0\2hi", 7, "content-type: application/grpc+proto\n",
     "grpc-status: 13\n", 0, true, false},
    {"bytes behind the trailers", "200 OK\r\n" WEB, TRAILERS "more", 5 + 28 + 4,
     "content-type: application/grpc+proto\n", "grpc-status: 13\n", 0, true, false},
    {"a trailer that is none", "200 OK\r\n" WEB, "\x80\0\0\0\x18grpc-status: 0\r\na b: c\r\n",
     5 + 24, "content-type: application/grpc+proto\n", NULL, 0, false, true},
    {"unauthenticated", "401 Unauthorized\r\ncontent-type: application/json\r\n", "{}", 2,
     "content-type: application/grpc\n", "grpc-status: 16\n", 0, false, false},
    {"unknown", "404 Not Found\r\n", "", 0, "content-type: application/grpc\n", "grpc-status: 12\n",
     0, false, false},
    {"not gRPC-Web", "200 OK\r\ncontent-type: text/html\r\n", "<p>", 3,
     "content-type: application/grpc\n", "grpc-status: 2\n", 0, false, false},
    {"gRPC-Web in text", "200 OK\r\ncontent-type: application/grpc-web-text\r\n", "AAAA", 4,
     "content-type: application/grpc\n", "grpc-status: 2\n", 0, false, false},
};
#define ROW_CNT (sizeof(rows) / sizeof(rows[0]))

static struct {
    const struct row *row;
    size_t step;
    bool is_drained;
} T;

static void reply(struct http_exchange *x, const struct http_head *head)
{
    struct edge_grpc g;
    bool lives = edge_grpc_head(x, head);

    edge_grpc_init(&g);
    for (size_t at = 0; at < T.row->body_len && lives; at += T.step) {
        size_t left = T.row->body_len - at;

        lives =
            edge_grpc_body(&g, x, adit_view_mem(T.row->body + at, T.step < left ? T.step : left));
    }
    if (lives && edge_grpc_end(&g, x))
        http_exchange_end(x);
    edge_grpc_fini(&g);
}

/* The request's handler plays the relay with a reply of the row. */
static void on_request(struct http_exchange *x, const struct http_head *request)
{
    static struct http_head head;
    struct http_parser *p = http_parser_new(HTTP_RESPONSE);
    struct adit_view in, body;
    enum http_event event;
    char text[512];

    ck_assert(edge_grpc_is(http_head_get(request, "content-type")));
    (void)snprintf(text, sizeof(text), "HTTP/1.1 %scontent-length: %zu\r\n\r\n", T.row->head,
                   T.row->body_len);
    in = adit_view_str(text);
    ck_assert_int_eq(http_parser_next(p, &in, &head, &body, &event, NULL), ADIT_OK);
    reply(x, &head);
    http_parser_free(p);
}

static void on_drained(void *owner)
{
    (void)owner;
    T.is_drained = true;
}

static void check_reply(const struct h2_reply *r)
{
    ck_assert_msg((r->error != 0) == T.row->is_reset, "%s: %u", T.row->what, r->error);
    if (T.row->is_reset)
        return;
    ck_assert_int_eq(r->status, 200);
    ck_assert_msg(strstr(r->fields, T.row->type) && strstr(r->fields, T.row->status), "%s: %s",
                  T.row->what, r->fields);
    ck_assert_msg(r->has_trailers == T.row->has_trailers, "%s", T.row->what);
    ck_assert_uint_eq(r->body_len, T.row->message_len);
    ck_assert(memcmp(r->body, T.row->body, r->body_len) == 0);
}

START_TEST(edge_grpc_makes_an_answer_of_a_reply)
{
    static const size_t steps[] = {1, 3, 1000};
    struct http_server_conf conf = {.on_request = on_request, .adopt_http2 = http2_server_adopt};
    nghttp2_nv nv[] = {H2_NV(":method", "POST"),
                       H2_NV(":scheme", "http"),
                       H2_NV(":path", "/a/b"),
                       H2_NV(":authority", "a"),
                       H2_NV("content-type", "application/grpc"),
                       H2_NV("te", "trailers")};
    struct http_server *s;
    struct peer *p;
    int fd;

    T.row = &rows[_i];
    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, &conf, &s, NULL), ADIT_OK);
    p = peer_new(&fd);
    http_server_accept(s, fd);
    h2_client_init(p);
    for (size_t i = 0; i < 3; i++) {
        T.step = steps[i];
        struct h2_reply *r = h2_reply(h2_submit(nv, 6, 5));
        h2_until(r->is_closed);
        check_reply(r);
    }
    peer_close(p);
    http_server_drain(s, 0, on_drained);
    run_until(T.is_drained);
    h2_client_fini();
    fixture_fini();
}
END_TEST

START_TEST(edge_grpc_knows_its_types)
{
    static const char *const ours[] = {"application/grpc", "application/grpc+proto",
                                       "application/grpc; charset=utf-8"};
    static const char *const others[] = {"", "application/grpc-web", "application/grpc-web+proto",
                                         "application/grpcx", "application/json"};
    struct adit_buf b;

    for (size_t i = 0; i < 3; i++)
        ck_assert(edge_grpc_is(adit_view_str(ours[i])));
    for (size_t i = 0; i < 5; i++)
        ck_assert(!edge_grpc_is(adit_view_str(others[i])));
    adit_buf_init(&b, 256);
    ck_assert_int_eq(edge_grpc_write_type(&b, adit_view_str(ours[1])), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&b), "Content-Type: application/grpc-web+proto\r\n"));
    adit_buf_fini(&b);
}
END_TEST

SUITE_MAIN_WITH("edge_grpc", TESTS(edge_grpc_knows_its_types),
                LOOPS({edge_grpc_makes_an_answer_of_a_reply, ROW_CNT}))
