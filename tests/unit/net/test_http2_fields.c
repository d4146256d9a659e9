/* SPDX-License-Identifier: Apache-2.0 */
/* The field section of an HTTP/2 request as an HTTP/1.1 head. */
#include "tests/unit/suite.h"

#include "net/http2_fields.h"

#define FIELD_CNT 8

static struct {
    struct http2_fields f;
    struct http_head head;
    struct adit_err err;
} T;

static void setup(void)
{
    ck_assert_int_eq(http2_fields_init(&T.f, &T.err), ADIT_OK);
}

static void teardown(void)
{
    http2_fields_fini(&T.f);
}

struct row {
    const char *what;
    struct {
        const char *name, *value;
    } fields[FIELD_CNT];
    bool has_body;
    unsigned status;  /* of the refusal; 0: accepted */
    const char *text; /* the head's fields, if accepted */
};

#define M                                                                                          \
    {                                                                                              \
        ":method", "GET"                                                                           \
    }
#define S                                                                                          \
    {                                                                                              \
        ":scheme", "http"                                                                          \
    }
#define P                                                                                          \
    {                                                                                              \
        ":path", "/p"                                                                              \
    }
#define A                                                                                          \
    {                                                                                              \
        ":authority", "a"                                                                          \
    }
#define LINES(x) "GET /p\nhost: a\n" x

static const struct row rows[] = {
    {"plain", {M, S, P, A}, false, 0, LINES("")},
    {"any order", {A, P, S, M, {"x", "y"}}, false, 0, LINES("x: y\n")},
    {"host instead", {M, S, P, {"host", "a"}}, false, 0, LINES("")},
    {"both alike", {M, S, P, A, {"host", "a"}}, false, 0, LINES("")},
    {"cookies",
     {M, S, P, A, {"cookie", "a"}, {"x", "y"}, {"cookie", "b"}},
     false,
     0,
     LINES("x: y\ncookie: a; b\n")},
    {"body", {M, S, P, A}, true, 0, LINES("transfer-encoding: chunked\n")},
    {"body with a length",
     {M, S, P, A, {"content-length", "5"}},
     true,
     0,
     LINES("content-length: 5\n")},
    {"te", {M, S, P, A, {"te", "trailers"}}, false, 0, LINES("te: trailers\n")},
    {"star", {{":method", "OPTIONS"}, S, {":path", "*"}, A}, false, 0, "OPTIONS *\nhost: a\n"},
    {"empty value", {M, S, P, A, {"x", ""}}, false, 0, LINES("x: \n")},
    {"websocket",
     {{":method", "CONNECT"}, {":protocol", "websocket"}, S, P, A},
     true,
     0,
     LINES("connection: Upgrade\nupgrade: websocket\nsec-websocket-key: KEY\n")},
    {"websocket's own key",
     {{":method", "CONNECT"}, {":protocol", "websocket"}, S, P, A, {"sec-websocket-key", "x"}},
     true,
     0,
     LINES("connection: Upgrade\nupgrade: websocket\nsec-websocket-key: KEY\n")},
    {"nothing", {{NULL, NULL}}, false, 400, NULL},
    {"no method", {S, P, A}, false, 400, NULL},
    {"no scheme", {M, P, A}, false, 400, NULL},
    {"no path", {M, S, A}, false, 400, NULL},
    {"no authority", {M, S, P}, false, 400, NULL},
    {"empty authority", {M, S, P, {":authority", ""}}, false, 400, NULL},
    {"empty host", {M, S, P, {"host", ""}}, false, 400, NULL},
    {"hosts differ", {M, S, P, A, {"host", "A"}}, false, 400, NULL},
    {"two hosts", {M, S, P, {"host", "a"}, {"host", "a"}}, false, 400, NULL},
    {"twice", {M, M, S, P, A}, false, 400, NULL},
    {"behind", {M, S, P, {"x", "y"}, A}, false, 400, NULL},
    {"unknown", {M, S, P, A, {":x", "y"}}, false, 400, NULL},
    {"status", {M, S, P, A, {":status", "200"}}, false, 400, NULL},
    {"colon alone", {M, S, P, A, {":", "y"}}, false, 400, NULL},
    {"ftp", {M, {":scheme", "ftp"}, P, A}, false, 400, NULL},
    {"relative path", {M, S, {":path", "p"}, A}, false, 400, NULL},
    {"absolute path", {M, S, {":path", "http://b/"}, A}, false, 400, NULL},
    {"star for GET", {M, S, {":path", "*"}, A}, false, 400, NULL},
    {"space in the path", {M, S, {":path", "/a b"}, A}, false, 400, NULL},
    {"line in the path", {M, S, {":path", "/ HTTP/1.1\r\nx: y"}, A}, false, 400, NULL},
    {"fragment", {M, S, {":path", "/a#b"}, A}, false, 400, NULL},
    {"space in the method", {{":method", "GET /"}, S, P, A}, false, 400, NULL},
    {"unknown method", {{":method", "BREW"}, S, P, A}, false, 400, NULL},
    {"lower case method", {{":method", "get"}, S, P, A}, false, 400, NULL},
    {"upper case name", {M, S, P, A, {"X", "y"}}, false, 400, NULL},
    {"empty name", {M, S, P, A, {"", "y"}}, false, 400, NULL},
    {"space in a name", {M, S, P, A, {"a b", "y"}}, false, 400, NULL},
    {"colon in a name", {M, S, P, A, {"a:b", "y"}}, false, 400, NULL},
    {"line in a value", {M, S, P, A, {"a", "b\r\nc: d"}}, false, 400, NULL},
    {"line in the authority", {M, S, P, {":authority", "a\r\nb: c"}}, false, 400, NULL},
    {"line in a cookie", {M, S, P, A, {"cookie", "a\r\nb: c"}}, false, 400, NULL},
    {"space before a value", {M, S, P, A, {"a", " b"}}, false, 400, NULL},
    {"tab behind a value", {M, S, P, A, {"a", "b\t"}}, false, 400, NULL},
    {"connection", {M, S, P, A, {"connection", "close"}}, false, 400, NULL},
    {"keep-alive", {M, S, P, A, {"keep-alive", "x"}}, false, 400, NULL},
    {"proxy-connection", {M, S, P, A, {"proxy-connection", "x"}}, false, 400, NULL},
    {"transfer-encoding", {M, S, P, A, {"transfer-encoding", "chunked"}}, true, 400, NULL},
    {"upgrade", {M, S, P, A, {"upgrade", "websocket"}}, false, 400, NULL},
    {"te gzip", {M, S, P, A, {"te", "gzip"}}, false, 400, NULL},
    {"lengths", {M, S, P, A, {"content-length", "5"}, {"content-length", "5"}}, true, 400, NULL},
    {"length without a body", {M, S, P, A, {"content-length", "5"}}, false, 400, NULL},
    {"odd length", {M, S, P, A, {"content-length", "0x5"}}, true, 400, NULL},
    {"expectation", {M, S, P, A, {"expect", "more"}}, true, 400, NULL},
    {"CONNECT", {{":method", "CONNECT"}, A}, true, 501, NULL},
    {"GET with a protocol", {M, {":protocol", "websocket"}, S, P, A}, true, 400, NULL},
    {"other protocol", {{":method", "CONNECT"}, {":protocol", "x"}, S, P, A}, true, 501, NULL},
    {"websocket that has ended",
     {{":method", "CONNECT"}, {":protocol", "websocket"}, S, P, A},
     false,
     400,
     NULL},
    {"websocket with a length",
     {{":method", "CONNECT"}, {":protocol", "websocket"}, S, P, A, {"content-length", "5"}},
     true,
     400,
     NULL},
};
#define ROW_CNT (sizeof(rows) / sizeof(rows[0]))

static int take(const struct row *row)
{
    http2_fields_begin(&T.f, adit_view_str("KEY"));
    for (size_t i = 0; i < FIELD_CNT && row->fields[i].name; i++)
        http2_fields_add(&T.f, adit_view_str(row->fields[i].name),
                         adit_view_str(row->fields[i].value));
    return http2_fields_head(&T.f, !row->has_body, &T.head, &T.err);
}

static void check_text(const struct row *row)
{
    char text[4096];
    size_t at = (size_t)snprintf(text, sizeof(text), "%.*s %.*s\n",
                                 ADIT_VIEW_ARG(T.head.method_text), ADIT_VIEW_ARG(T.head.target));

    for (size_t i = 0; i < T.head.header_cnt; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s: %.*s\n",
                               ADIT_VIEW_ARG(T.head.headers[i].name),
                               ADIT_VIEW_ARG(T.head.headers[i].value));
    ck_assert_str_eq(text, row->text);
    ck_assert_uint_eq(T.head.minor, 1);
}

START_TEST(http2_fields_become_a_head_or_are_refused)
{
    int rc = take(&rows[_i]);

    ck_assert_msg((rc == ADIT_OK) == (rows[_i].status == 0), "%s: %d %s", rows[_i].what, rc,
                  T.err.msg);
    if (rc == ADIT_OK)
        check_text(&rows[_i]);
    else
        ck_assert_msg(http2_fields_status(&T.f) == rows[_i].status, "%s: %u", rows[_i].what,
                      http2_fields_status(&T.f));
    ck_assert_int_eq(take(&rows[0]), ADIT_OK); /* the one before is forgotten */
    check_text(&rows[0]);
}
END_TEST

START_TEST(http2_fields_are_bounded)
{
    static char value[HTTP_LINE_CAP];

    memset(value, 'v', sizeof(value));
    http2_fields_begin(&T.f, adit_view_str("KEY"));
    for (int i = 0; i < HTTP_HEADERS_MAX + 1; i++)
        http2_fields_add(&T.f, adit_view_str(i < 4 ? rows[0].fields[i].name : "x"),
                         adit_view_str(i < 4 ? rows[0].fields[i].value : "y"));
    ck_assert_int_eq(http2_fields_head(&T.f, true, &T.head, &T.err), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(http2_fields_status(&T.f), 431);

    http2_fields_begin(&T.f, adit_view_str("KEY"));
    for (int i = 0; i < 4; i++)
        http2_fields_add(&T.f, adit_view_str(rows[0].fields[i].name),
                         adit_view_str(rows[0].fields[i].value));
    http2_fields_add(&T.f, adit_view_str("x"), adit_view_mem(value, sizeof(value)));
    ck_assert_int_eq(http2_fields_head(&T.f, true, &T.head, &T.err), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(http2_fields_status(&T.f), 431); /* a line, as over HTTP/1 */

    http2_fields_begin(&T.f, adit_view_str("KEY"));
    for (int i = 0; i < 100000; i++)
        http2_fields_add(&T.f, adit_view_str("cookie"), adit_view_mem(value, 1000));
    ck_assert_uint_le(T.f.head.len + T.f.cookie.len, 2 * HTTP_HEAD_CAP);
    ck_assert_int_ne(http2_fields_head(&T.f, true, &T.head, &T.err), ADIT_OK);
}
END_TEST

START_TEST(http2_fields_tell_a_request_for_a_head)
{
    http2_fields_begin(&T.f, adit_view_str("KEY"));
    http2_fields_add(&T.f, adit_view_str(":method"), adit_view_str("HEAD"));
    http2_fields_add(&T.f, adit_view_str("X"), adit_view_str("y"));
    ck_assert_int_ne(http2_fields_head(&T.f, true, &T.head, &T.err), ADIT_OK);
    ck_assert(http2_fields_is_head(&T.f));
    http2_fields_begin(&T.f, adit_view_str("KEY"));
    ck_assert(!http2_fields_is_head(&T.f));
}
END_TEST

SUITE_MAIN_WITH("http2_fields", .fixtures = {{setup, teardown}},
                TESTS(http2_fields_are_bounded, http2_fields_tell_a_request_for_a_head),
                LOOPS({http2_fields_become_a_head_or_are_refused, ROW_CNT}))
