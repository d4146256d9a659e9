/* SPDX-License-Identifier: Apache-2.0 */
/* The raw head check. Whole messages are judged in test_http_msg.c. */
#include "net/http_guard.h"

#include "tests/unit/suite.h"
#include <stdio.h>
#include <stdlib.h>

static int feed(enum http_kind kind, struct adit_view bytes, size_t *head_len)
{
    struct http_guard g;
    http_guard_init(&g);
    return http_guard_feed(&g, kind, bytes, head_len, NULL);
}

START_TEST(http_guard_finds_the_end_of_a_head)
{
    static const struct adit_view bytes = ADIT_VIEW("GET / HTTP/1.1\r\nA: b\r\n\r\nrest\r\n\r\n");
    size_t head_len;
    ck_assert_int_eq(feed(HTTP_REQUEST, bytes, &head_len), ADIT_OK);
    ck_assert_uint_eq(head_len, 24);
}
END_TEST

START_TEST(http_guard_remembers_how_far_it_came)
{
    static const struct adit_view bytes = ADIT_VIEW("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    struct http_guard g;
    size_t head_len;
    http_guard_init(&g);
    for (size_t i = 0; i < bytes.len; i++) {
        struct adit_view part = {bytes.ptr, i};
        ck_assert_int_eq(http_guard_feed(&g, HTTP_RESPONSE, part, &head_len, NULL), ADIT_OK);
        ck_assert_uint_eq(head_len, 0);
        ck_assert_uint_eq(g.scanned, i);
    }
    ck_assert_int_eq(http_guard_feed(&g, HTTP_RESPONSE, bytes, &head_len, NULL), ADIT_OK);
    ck_assert_uint_eq(head_len, bytes.len);
}
END_TEST

START_TEST(http_guard_takes_fields_alone)
{
    static const struct adit_view fields = ADIT_VIEW("A: b\r\n\r\n"), none = ADIT_VIEW("\r\n"),
                                  folded = ADIT_VIEW("A: b\r\n c\r\n\r\n");
    struct http_guard g;
    size_t head_len;
    http_guard_init_fields(&g);
    ck_assert_int_eq(http_guard_feed(&g, HTTP_REQUEST, fields, &head_len, NULL), ADIT_OK);
    ck_assert_uint_eq(head_len, 8);
    http_guard_init_fields(&g);
    ck_assert_int_eq(http_guard_feed(&g, HTTP_REQUEST, none, &head_len, NULL), ADIT_OK);
    ck_assert_uint_eq(head_len, 2);
    http_guard_init_fields(&g);
    ck_assert_int_eq(http_guard_feed(&g, HTTP_REQUEST, folded, &head_len, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(http_guard_does_not_take_a_reply_for_a_request)
{
    static const struct adit_view reply = ADIT_VIEW("HTTP/1.1 200 OK\r\n\r\n"),
                                  request = ADIT_VIEW("GET / HTTP/1.1\r\n\r\n");
    size_t head_len;
    ck_assert_int_eq(feed(HTTP_REQUEST, reply, &head_len), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(feed(HTTP_RESPONSE, request, &head_len), ADIT_ERR_BAD_INPUT);
}
END_TEST

/* Each start line breaks one rule of RFC 9112, sections 3 and 4. */
static const struct {
    enum http_kind kind;
    const char *line;
    int code;
} start_lines[] = {
    {HTTP_REQUEST, "GET", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, " / HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET\t/ HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET /", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET  HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET /# HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET /\x7f HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET /\x80 HTTP/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/1.10", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTQ/1.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP//.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/:.1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/1,1", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/1./", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/1.:", ADIT_ERR_BAD_INPUT},
    {HTTP_REQUEST, "GET / HTTP/1.2", ADIT_ERR_UNIMPLEMENTED},
    {HTTP_REQUEST, "GET / HTTP/2.0", ADIT_ERR_UNIMPLEMENTED},
    {HTTP_REQUEST, "GET / HTTP/0.9", ADIT_ERR_UNIMPLEMENTED},
    {HTTP_REQUEST, "GET / HTTP/1.0", ADIT_OK},
    {HTTP_RESPONSE, "HTTP/1", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 20", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1_200", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 000", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 :00", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 2/0", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 2:0", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 20/", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 20:", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 2000", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 200 a\x01", ADIT_ERR_BAD_INPUT},
    {HTTP_RESPONSE, "HTTP/1.1 200", ADIT_OK},
    {HTTP_RESPONSE, "HTTP/1.1 200 ", ADIT_OK},
};

START_TEST(http_guard_judges_start_lines)
{
    char head[64];
    size_t head_len;
    int len = snprintf(head, sizeof(head), "%s\r\n\r\n", start_lines[_i].line);
    ck_assert_int_eq(feed(start_lines[_i].kind, adit_view_mem(head, (size_t)len), &head_len),
                     start_lines[_i].code);
}
END_TEST

/* Every byte at every place of values of several lengths: the eight-byte steps miss none. */
START_TEST(http_guard_sees_control_characters_anywhere)
{
    char text[40];
    for (size_t len = 1; len <= sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, len % 2 ? 'x' : '\xff', sizeof(text));
            text[at] = (char)_i;
            bool allowed = _i == '\t' || (_i >= ' ' && _i != 0x7f);
            ck_assert_int_eq(http_guard_is_value(adit_view_mem(text, len)), allowed);
        }
    }
}
END_TEST

START_TEST(http_guard_knows_token_characters)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    bool is_alnum =
        (_i >= '0' && _i <= '9') || (_i >= 'a' && _i <= 'z') || (_i >= 'A' && _i <= 'Z');
    bool allowed = is_alnum || (_i != 0 && strchr(others, _i));
    for (size_t len = 1; len < 10; len++) {
        char text[10] = "abcdefghi";
        text[len - 1] = (char)_i;
        ck_assert_int_eq(http_guard_is_token(adit_view_mem(text, len)), allowed);
    }
    ck_assert(!http_guard_is_token(adit_view_mem(NULL, 0)));
    ck_assert(http_guard_is_value(adit_view_mem(NULL, 0)));
}
END_TEST

SUITE_MAIN_WITH("http_guard",
                TESTS(http_guard_finds_the_end_of_a_head, http_guard_remembers_how_far_it_came,
                      http_guard_takes_fields_alone,
                      http_guard_does_not_take_a_reply_for_a_request),
                LOOPS({http_guard_judges_start_lines, sizeof(start_lines) / sizeof(start_lines[0])},
                      {http_guard_sees_control_characters_anywhere, 256},
                      {http_guard_knows_token_characters, 256}))
