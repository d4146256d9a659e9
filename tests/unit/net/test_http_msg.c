/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP message parser: verdicts on hostile messages, events, limits. */
#include "net/http_msg.h"

#include "tests/fuzz/http_transcript.h"
#include "tests/unit/net/http_vectors.h"

#include "tests/unit/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
_Static_assert(COUNT(http_request_vectors) == 49, "the plan has 49 request vectors");

static void run_vector(const struct http_vector *v, enum http_kind kind, size_t step)
{
    struct http_transcript t;
    http_transcript_init(&t, kind, HTTP_GET);
    http_transcript_run(&t, v->bytes, step, 1);
    ck_assert_msg(t.message_cnt == v->messages && t.body_len == v->body_len &&
                      t.status == v->status,
                  "%s: %u messages, %zu body bytes, status %u; wanted %u, %zu, %u\n%.*s", v->name,
                  t.message_cnt, t.body_len, t.status, v->messages, v->body_len, v->status,
                  ADIT_VIEW_ARG(adit_buf_view(&t.text)));
    http_transcript_fini(&t);
}

/* Whole, byte by byte, and at random. */
static void run_vector_cut(const struct http_vector *v, enum http_kind kind)
{
    run_vector(v, kind, SIZE_MAX);
    run_vector(v, kind, 1);
    run_vector(v, kind, 0);
}

START_TEST(http_msg_judges_request_vectors)
{
    run_vector_cut(&http_request_vectors[_i], HTTP_REQUEST);
}
END_TEST

START_TEST(http_msg_judges_more_requests)
{
    run_vector_cut(&http_request_more[_i], HTTP_REQUEST);
}
END_TEST

START_TEST(http_msg_judges_reply_vectors)
{
    run_vector_cut(&http_response_vectors[_i], HTTP_RESPONSE);
}
END_TEST

/* A parser and one head, and the calls on it. */
static struct http_head head;
static struct http_parser *parser;

static void setup_request(void)
{
    parser = http_parser_new(HTTP_REQUEST);
    ck_assert_ptr_nonnull(parser);
}

static void teardown(void)
{
    http_parser_free(parser);
}

static enum http_event next(struct adit_view *in, struct adit_view *body)
{
    struct adit_err err = ADIT_ERR_INIT;
    enum http_event event;
    int rc = http_parser_next(parser, in, &head, body, &event, &err);
    ck_assert_msg(rc == ADIT_OK, "%s", err.msg);
    return event;
}

static int next_error(struct adit_view in)
{
    enum http_event event = HTTP_EV_HEAD;
    struct adit_view body;
    int rc = ADIT_OK;
    while (rc == ADIT_OK && event != HTTP_EV_MORE)
        rc = http_parser_next(parser, &in, &head, &body, &event, NULL);
    return rc;
}

START_TEST(http_msg_splits_a_head)
{
    struct adit_view in = ADIT_VIEW("PATCH /p?q HTTP/1.1\r\nHost:a\r\nX-One:  1\t\r\nx-one: 2\r\n"
                                    "Empty:\r\nContent-Length: 3\r\n\r\nabc");
    const char *bytes = in.ptr;
    struct adit_view body;
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    ck_assert_int_eq(head.method, HTTP_PATCH);
    ck_assert(adit_view_eq_str(head.method_text, "PATCH"));
    ck_assert(adit_view_eq_str(head.target, "/p?q"));
    ck_assert_ptr_eq(head.method_text.ptr, bytes); /* in place */
    ck_assert_uint_eq(head.header_cnt, 5);
    ck_assert_uint_eq(head.content_length, 3);
    ck_assert(head.has_content_length && head.keep_alive);
    ck_assert(!head.chunked && !head.upgrade && !head.expect_continue);
    ck_assert(adit_view_eq_str(http_head_get(&head, "x-ONE"), "1"));
    ck_assert_uint_eq(http_head_count(&head, "X-One"), 2);
    ck_assert(http_head_get(&head, "empty").ptr != NULL);
    ck_assert_uint_eq(http_head_get(&head, "empty").len, 0);
    ck_assert_ptr_null(http_head_get(&head, "absent").ptr);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_BODY);
    ck_assert(adit_view_eq_str(body, "abc"));
    ck_assert_ptr_eq(body.ptr, strstr(bytes, "abc"));
    ck_assert_int_eq(next(&in, &body), HTTP_EV_END);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_MORE);
    ck_assert(http_parser_is_idle(parser));
}
END_TEST

START_TEST(http_msg_is_idle_only_between_messages)
{
    struct adit_view body, first = ADIT_VIEW("GET / HT"),
                           second = ADIT_VIEW("TP/1.1\r\nHost: a\r\n\r\n");
    ck_assert(http_parser_is_idle(parser));
    ck_assert_int_eq(next(&first, &body), HTTP_EV_MORE);
    ck_assert(!http_parser_is_idle(parser));
    ck_assert_int_eq(next(&second, &body), HTTP_EV_HEAD);
    ck_assert(adit_view_eq_str(head.target, "/"));
    ck_assert(!http_parser_is_idle(parser));
    ck_assert_int_eq(next(&second, &body), HTTP_EV_END);
    ck_assert(http_parser_is_idle(parser));
}
END_TEST

START_TEST(http_msg_eof_is_an_error_only_inside_a_message)
{
    enum http_event event;
    struct adit_view body,
        in = ADIT_VIEW("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    ck_assert_int_eq(http_parser_eof(parser, &event, NULL), ADIT_OK);
    ck_assert_int_eq(event, HTTP_EV_MORE);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    ck_assert_int_eq(http_parser_eof(parser, &event, NULL), ADIT_ERR_CLOSED);
}
END_TEST

START_TEST(http_msg_error_is_final)
{
    static const struct adit_view good = ADIT_VIEW(GET "\r\n");
    struct adit_view bad = ADIT_VIEW("GET / HTTP/3.0\r\n");
    ck_assert_int_eq(next_error(bad), ADIT_ERR_UNIMPLEMENTED);
    ck_assert_uint_eq(http_parser_error_status(parser), 505);
    ck_assert_int_eq(next_error(good), ADIT_ERR_UNIMPLEMENTED);
    ck_assert_int_eq(next_error(adit_view_mem(NULL, 0)), ADIT_ERR_UNIMPLEMENTED);
    ck_assert_uint_eq(http_parser_error_status(parser), 505);
}
END_TEST

static char *repeat(const char *start, const char *unit, size_t cnt, const char *end)
{
    struct adit_buf b;
    adit_buf_init(&b, 8u * 1024 * 1024);
    ck_assert_int_eq(adit_buf_append_str(&b, start), ADIT_OK);
    while (cnt-- > 0)
        ck_assert_int_eq(adit_buf_append_str(&b, unit), ADIT_OK);
    ck_assert_int_eq(adit_buf_append_str(&b, end), ADIT_OK);
    return adit_buf_steal_str(&b);
}

/* @status 0: accepted; also byte by byte. */
static void check_repeated(const char *start, const char *unit, size_t cnt, const char *end,
                           unsigned status)
{
    char *text = repeat(start, unit, cnt, end);
    for (size_t step = 1; step != 0; step = step == 1 ? SIZE_MAX : 0) {
        struct http_transcript t;
        http_transcript_init(&t, HTTP_REQUEST, HTTP_GET);
        http_transcript_run(&t, adit_view_str(text), step, 0);
        ck_assert_uint_eq(t.status, status);
        ck_assert_uint_eq(t.message_cnt, status == 0);
        http_transcript_fini(&t);
    }
    free(text);
}

START_TEST(http_msg_bounds_headers)
{
    check_repeated(GET, "A: b\r\n", HTTP_HEADERS_MAX - 1, "\r\n", 0);
    check_repeated(GET, "A: b\r\n", HTTP_HEADERS_MAX, "\r\n", 431);
}
END_TEST

START_TEST(http_msg_bounds_lines)
{
    check_repeated(GET "A: ", "x", HTTP_LINE_CAP - 5, "\r\n\r\n", 0);
    check_repeated(GET "A: ", "x", HTTP_LINE_CAP - 4, "\r\n\r\n", 431);
    check_repeated("GET /", "x", HTTP_LINE_CAP - 16, " HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    check_repeated("GET /", "x", HTTP_LINE_CAP - 15, " HTTP/1.1\r\nHost: a\r\n\r\n", 431);
    check_repeated("", "x", HTTP_LINE_CAP, "", 431);
}
END_TEST

/* Lines of 1,000 bytes, and a last one that fills up to the byte. */
static void check_head_of(size_t len, unsigned status)
{
    char line[1001], last[2001];
    memset(line, 'x', sizeof(line));
    memcpy(line, "A: ", 3);
    memcpy(line + 998, "\r\n", 3);
    size_t whole = (len - strlen(GET) - 2 - 100) / 1000;
    size_t left = len - strlen(GET) - 2 - whole * 1000;
    memset(last, 'x', sizeof(last));
    memcpy(last, "B: ", 3);
    memcpy(last + left - 2, "\r\n\r\n", 5);
    check_repeated(GET, line, whole, last, status);
}

START_TEST(http_msg_bounds_the_head)
{
    check_head_of(HTTP_HEAD_CAP, 0);
    check_head_of(HTTP_HEAD_CAP + 1, 431);
}
END_TEST

START_TEST(http_msg_bounds_connection_lists)
{
    check_repeated(GET "Connection: ", "x", HTTP_CONNECTION_CAP, "\r\n\r\n", 0);
    check_repeated(GET "Connection: a\r\nConnection: ", "x", HTTP_CONNECTION_CAP, "\r\n\r\n", 431);
}
END_TEST

START_TEST(http_msg_bounds_chunk_framing)
{
    check_repeated(CHUNKED, "1\r\nx\r\n", 100000, LAST_CHUNK, 0);
    /* 16 bytes are free, 112 - 16 = 96 count */
    char extension[128] = "1;";
    memset(extension + 2, 'e', 106);
    memcpy(extension + 108, "\r\nx\r\n", 6);
    size_t cnt = HTTP_CHUNK_OVERHEAD_CAP / 96;
    check_repeated(CHUNKED, extension, cnt, LAST_CHUNK, 0);
    check_repeated(CHUNKED, extension, cnt + 2, LAST_CHUNK, 400);
    check_repeated(CHUNKED "1;", "e", HTTP_CHUNK_OVERHEAD_CAP + 100, "\r\nx\r\n" LAST_CHUNK, 400);
    check_repeated(CHUNKED, "0", HTTP_CHUNK_OVERHEAD_CAP + 100, "\r\n\r\n", 400);
}
END_TEST

START_TEST(http_msg_bounds_trailers)
{
    check_repeated(CHUNKED "0\r\n", "A: b\r\n", HTTP_HEADERS_MAX, "\r\n", 0);
    check_repeated(CHUNKED "0\r\n", "A: b\r\n", HTTP_HEADERS_MAX + 1, "\r\n", 400);
}
END_TEST

START_TEST(http_msg_knows_hop_headers)
{
    struct adit_view in = ADIT_VIEW(GET "Connection: close, X-Hop ,\r\nconnection: Second\r\n\r\n");
    struct adit_view body;
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    static const char *const hop[] = {"Connection", "keep-alive",     "Proxy-Connection",
                                      "TE",         "Trailer",        "Transfer-Encoding",
                                      "Upgrade",    "content-length", "HOST",
                                      "Expect",     "x-hop",          "second"};
    static const char *const kept[] = {"Accept", "X-Hop2", "X-Ho", "Authorization", "Date"};
    for (size_t i = 0; i < COUNT(hop); i++)
        ck_assert_msg(http_head_is_hop(&head, adit_view_str(hop[i])), "%s", hop[i]);
    for (size_t i = 0; i < COUNT(kept); i++)
        ck_assert_msg(!http_head_is_hop(&head, adit_view_str(kept[i])), "%s", kept[i]);
}
END_TEST

/* @text is a reply to @method: has it a body, and is the connection of use afterwards? */
static void check_reply(const char *text, enum http_method method, bool has_body, bool keeps)
{
    struct adit_view body, in = adit_view_str(text);
    http_parser_free(parser);
    parser = http_parser_new(HTTP_RESPONSE);
    http_parser_set_request_method(parser, method);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    ck_assert_int_eq(http_head_has_body(&head, method), has_body);
    ck_assert_int_eq(head.keep_alive, keeps);
    if (has_body)
        return;
    ck_assert_int_eq(next(&in, &body), HTTP_EV_END);
    ck_assert_int_eq(http_parser_is_idle(parser), keeps);
}

START_TEST(http_msg_frames_replies_by_request)
{
    check_reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_HEAD, false, true);
    check_reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD, false, true);
    check_reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_POST, true, true);
    check_reply("HTTP/1.1 200 OK\r\n\r\n", HTTP_POST, true, false);
    check_reply("HTTP/1.1 304 OK\r\n\r\n", HTTP_GET, false, true);
    check_reply("HTTP/1.0 204 OK\r\nConnection: x, keep-alive\r\n\r\n", HTTP_GET, false, true);
    check_reply("HTTP/1.0 204 OK\r\n\r\n", HTTP_GET, false, false);
}
END_TEST

START_TEST(http_msg_tells_what_a_request_wants)
{
    struct adit_view body, in = ADIT_VIEW("GET / HTTP/1.1\r\nHost: a\r\nConnection: "
                                          "x\r\nConnection: UPGRADE\r\nUpgrade: y\r\n\r\n"
                                          "POST / HTTP/1.1\r\nHost: a\r\nExpect: "
                                          "100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    ck_assert(head.upgrade && !head.expect_continue);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_END);
    ck_assert_int_eq(next(&in, &body), HTTP_EV_HEAD);
    ck_assert(!head.upgrade && head.expect_continue && head.chunked);
    ck_assert(http_head_has_body(&head, HTTP_OTHER));
}
END_TEST

SUITE_MAIN_WITH("http_msg", .fixtures = {{setup_request, teardown}},
                TESTS(http_msg_splits_a_head, http_msg_is_idle_only_between_messages,
                      http_msg_eof_is_an_error_only_inside_a_message, http_msg_error_is_final,
                      http_msg_bounds_headers, http_msg_bounds_lines, http_msg_bounds_the_head,
                      http_msg_bounds_connection_lists, http_msg_bounds_chunk_framing,
                      http_msg_bounds_trailers, http_msg_knows_hop_headers,
                      http_msg_frames_replies_by_request, http_msg_tells_what_a_request_wants),
                LOOPS({http_msg_judges_request_vectors, COUNT(http_request_vectors)},
                      {http_msg_judges_more_requests, COUNT(http_request_more)},
                      {http_msg_judges_reply_vectors, COUNT(http_response_vectors)}))
