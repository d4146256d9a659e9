/* SPDX-License-Identifier: Apache-2.0 */
/* Writing heads: what is written, and what is refused. */
#include "net/http_write.h"

#include "tests/unit/suite.h"

static struct adit_buf out;

static void setup(void)
{
    adit_buf_init(&out, 256);
}

static void teardown(void)
{
    adit_buf_fini(&out);
}

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

START_TEST(http_write_writes_a_request)
{
    ck_assert_int_eq(http_write_request_line(&out, str("GET"), str("/a?b")), ADIT_OK);
    ck_assert_int_eq(http_write_header_str(&out, "Host", "x"), ADIT_OK);
    ck_assert_int_eq(http_write_header_str(&out, "Empty", ""), ADIT_OK);
    ck_assert_int_eq(http_write_header_u64(&out, "Content-Length", 0), ADIT_OK);
    ck_assert_int_eq(http_write_header_u64(&out, "Max", UINT64_MAX), ADIT_OK);
    ck_assert_int_eq(http_write_end(&out), ADIT_OK);
    ck_assert(adit_view_eq_str(adit_buf_view(&out),
                               "GET /a?b HTTP/1.1\r\nHost: x\r\nEmpty: \r\nContent-Length: 0\r\n"
                               "Max: 18446744073709551615\r\n\r\n"));
}
END_TEST

START_TEST(http_write_writes_a_status_line)
{
    ck_assert_int_eq(http_write_status_line(&out, 404), ADIT_OK);
    ck_assert_int_eq(http_write_status_line(&out, 799), ADIT_OK);
    ck_assert(adit_view_eq_str(adit_buf_view(&out),
                               "HTTP/1.1 404 Not Found\r\nHTTP/1.1 799 Unknown\r\n"));
}
END_TEST

static const char *const bad_names[] = {"", "a b", "a:", ":a", "a\r", "a\n", "\xc3\xa4", "a\t"};
static const char *const bad_values[] = {"a\rb", "a\nb", "\r\nEvil: yes", "\x01", "\x7f"};
static const char *const bad_targets[] = {"", "/a b", "/\r\n", "/\xc3\xa4", "/\x7f"};

START_TEST(http_write_refuses_what_would_end_a_line_early)
{
    static const struct adit_view nul = ADIT_VIEW("a\0b");
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
        ck_assert_int_eq(http_write_header_str(&out, bad_names[i], "x"), ADIT_ERR_BAD_INPUT);
        ck_assert_int_eq(http_write_request_line(&out, str(bad_names[i]), str("/")),
                         ADIT_ERR_BAD_INPUT);
    }
    for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++)
        ck_assert_int_eq(http_write_header_str(&out, "A", bad_values[i]), ADIT_ERR_BAD_INPUT);
    for (size_t i = 0; i < sizeof(bad_targets) / sizeof(bad_targets[0]); i++)
        ck_assert_int_eq(http_write_request_line(&out, str("GET"), str(bad_targets[i])),
                         ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(http_write_header(&out, str("A"), nul), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(http_write_status_line(&out, 99), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(http_write_status_line(&out, 1000), ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(http_write_appends_a_line_whole_or_not_at_all)
{
    char value[250];
    memset(value, 'v', sizeof(value));
    ck_assert_int_eq(http_write_header(&out, str("A"), adit_view_mem(value, 250)), ADIT_OK);
    size_t len = out.len;
    ck_assert_int_eq(http_write_header_str(&out, "A", "b"), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(out.len, len);
}
END_TEST

START_TEST(http_write_knows_the_registered_reasons)
{
    static const struct {
        unsigned status;
        const char *reason;
    } known[] = {
        {100, "Continue"},
        {103, "Early Hints"},
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {226, "IM Used"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {418, "Unknown"},
        {421, "Misdirected Request"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {511, "Network Authentication Required"},
        {0, "Unknown"},
        {99, "Unknown"},
        {150, "Unknown"},
        {199, "Unknown"},
        {600, "Unknown"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        ck_assert_str_eq(http_write_reason(known[i].status), known[i].reason);
}
END_TEST

START_TEST(http_write_writes_chunk_heads)
{
    char text[HTTP_CHUNK_HEAD_CAP];
    ck_assert_uint_eq(http_write_chunk_head(text, 26), 4);
    ck_assert_str_eq(text, "1a\r\n");
    ck_assert_uint_eq(http_write_chunk_head(text, SIZE_MAX), 18);
}
END_TEST

SUITE_MAIN_WITH("http_write", .fixtures = {{setup, teardown}},
                TESTS(http_write_writes_a_request, http_write_writes_a_status_line,
                      http_write_refuses_what_would_end_a_line_early,
                      http_write_appends_a_line_whole_or_not_at_all,
                      http_write_knows_the_registered_reasons, http_write_writes_chunk_heads))
