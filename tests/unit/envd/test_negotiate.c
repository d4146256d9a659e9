/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, conditions, codings and headers of downloads, as tables. */
#include "tests/unit/suite.h"
#include <stdarg.h>
#include <stdlib.h>

#include "envd/filesystem/negotiate.h"

#define MTIME 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"

/* Pairs of name and value, NULL at the end. */
static void make_head(struct http_head *head, const char *const *pairs)
{
    memset(head, 0, sizeof *head);
    for (; pairs[0]; pairs += 2) {
        head->headers[head->header_cnt].name = adit_view_str(pairs[0]);
        head->headers[head->header_cnt++].value = adit_view_str(pairs[1]);
    }
}

struct row {
    const char *pairs[7];
    uint64_t size;
    unsigned status;
    uint64_t first, len;
};

START_TEST(negotiate_ranges_and_conditions)
{
    static const struct row rows[] = {
        {{NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=0-0", NULL}, 10, 206, 0, 1},
        {{"Range", "bytes=2-5", NULL}, 10, 206, 2, 4},
        {{"Range", "bytes=2-", NULL}, 10, 206, 2, 8},
        {{"Range", "bytes=2-999", NULL}, 10, 206, 2, 8},
        {{"Range", "bytes=-3", NULL}, 10, 206, 7, 3},
        {{"Range", "bytes=-99", NULL}, 10, 206, 0, 10},
        {{"Range", "BYTES=9-9", NULL}, 10, 206, 9, 1},
        {{"Range", "bytes=10-", NULL}, 10, 416, 0, 10},
        {{"Range", "bytes=-0", NULL}, 10, 416, 10, 0},
        {{"Range", "bytes=18446744073709551615-", NULL}, 10, 416, 0, 10},
        {{"Range", "bytes=0-", NULL}, 0, 200, 0, 0},
        /* malformed or several: the whole */
        {{"Range", "bytes=5-2", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=0-1,3-4", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=+1-2", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=99999999999999999999-", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=-", NULL}, 10, 200, 0, 10},
        {{"Range", "lines=0-1", NULL}, 10, 200, 0, 10},
        {{"Range", "", NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=2-5", "If-Range", DATE, NULL}, 10, 206, 2, 4},
        {{"Range", "bytes=2-5", "If-Range", LATER, NULL}, 10, 200, 0, 10},
        {{"Range", "bytes=2-5", "If-Range", "\"tag\"", NULL}, 10, 200, 0, 10},
        {{"If-Modified-Since", DATE, NULL}, 10, 304, 0, 10},
        {{"If-Modified-Since", EARLIER, NULL}, 10, 200, 0, 10},
        {{"If-Modified-Since", LATER, NULL}, 10, 304, 0, 10},
        {{"If-Modified-Since", "yesterday", NULL}, 10, 200, 0, 10},
        {{"If-None-Match", "*", NULL}, 10, 304, 0, 10},
        {{"If-None-Match", "\"x\"", "If-Modified-Since", DATE, NULL}, 10, 200, 0, 10},
        {{"If-Match", "*", NULL}, 10, 200, 0, 10},
        {{"If-Match", "\"x\"", NULL}, 10, 412, 0, 10},
        {{"If-Unmodified-Since", EARLIER, NULL}, 10, 412, 0, 10},
        {{"If-Unmodified-Since", DATE, NULL}, 10, 200, 0, 10},
    };
    static struct http_head head;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct negotiate n;
        uint64_t first, len;
        make_head(&head, r->pairs);
        ck_assert_int_eq(negotiate_parse(&head, &n, NULL), 0);
        unsigned status = negotiate_status(&n, r->size, MTIME, &first, &len);
        ck_assert_msg(status == r->status, "row %zu: %u", i, status);
        if (status == 206 || status == 200) {
            ck_assert_msg(first == r->first && len == r->len, "row %zu: %llu+%llu", i,
                          (unsigned long long)first, (unsigned long long)len);
        }
    }
}
END_TEST

START_TEST(negotiate_prefers_identity_and_knows_when_it_may_not)
{
    enum { IDENTITY = NEGOTIATE_IDENTITY, GZIP = NEGOTIATE_GZIP, NONE = -1 };
    static const struct {
        const char *accept;
        int coding;
    } rows[] = {
        {"", IDENTITY},
        {"gzip, deflate, br", IDENTITY},
        {"gzip;q=1.0, identity;q=0.5", IDENTITY},
        {"identity;q=0, gzip", GZIP},
        {"gzip, identity ; q=0.000", GZIP},
        {"*;q=0, gzip", GZIP},
        {"identity;q=0, *", GZIP},
        {"identity;q=0", NONE},
        {"identity;q=0, gzip;q=0", NONE},
        {"identity;q=0, br", NONE},
        {"*;q=0", NONE},
        {"*;q=0, identity", IDENTITY},
        {",,;;q=0", IDENTITY},
    };
    static struct http_head head;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *pairs[] = {"Accept-Encoding", rows[i].accept, NULL};
        struct negotiate n;
        make_head(&head, pairs);
        int rc = negotiate_parse(&head, &n, NULL);
        ck_assert_msg((rc ? NONE : (int)n.coding) == rows[i].coding, "%s", rows[i].accept);
    }
    /* a range speaks of the identity form */
    const char *pairs[] = {"Accept-Encoding", "gzip, identity;q=0", "Range", "bytes=0-1", NULL};
    struct negotiate n;
    make_head(&head, pairs);
    ck_assert_int_eq(negotiate_parse(&head, &n, NULL), 0);
    ck_assert_int_eq(n.coding, NEGOTIATE_IDENTITY);
}
END_TEST

START_TEST(negotiate_dates_in_three_forms)
{
    static const char *const forms[] = {DATE, "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    char text[NEGOTIATE_DATE_CAP];
    int64_t seconds;
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(negotiate_parse_date(adit_view_str(forms[i]), &seconds), 0);
        ck_assert_int_eq(seconds, MTIME);
    }
    negotiate_format_date(MTIME, text);
    ck_assert_str_eq(text, DATE);
    negotiate_format_date(INT64_MAX, text);
    ck_assert_str_eq(text, "");
    ck_assert_int_ne(negotiate_parse_date(adit_view_str(DATE "x"), &seconds), 0);
    ck_assert_int_ne(negotiate_parse_date(adit_view_str(""), &seconds), 0);
}
END_TEST

START_TEST(negotiate_disposition_fits_the_bytes_of_the_name)
{
    static const char *const rows[][2] = {
        {"a.txt", "inline; filename=a.txt"},
        {"a b.txt", "inline; filename=\"a b.txt\""},
        {"q\"\\.x", "inline; filename=\"q\\\"\\\\.x\""},
        {"\xC3\xBC", "inline; filename*=utf-8''%C3%BC"},
        {"a\r\nX: y", "inline; filename*=utf-8''a%0D%0AX%3A%20y"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct adit_buf b;
        adit_buf_init(&b, 256);
        ck_assert_int_eq(negotiate_disposition(adit_view_str(rows[i][0]), &b), 0);
        ck_assert(adit_view_eq_str(adit_buf_view(&b), rows[i][1]));
        adit_buf_fini(&b);
    }
}
END_TEST

START_TEST(negotiate_type_by_name_then_content)
{
    ck_assert_str_eq(negotiate_type_by_name(adit_view_str("/a.b/c.PNG")), "image/png");
    ck_assert_ptr_null(negotiate_type_by_name(adit_view_str("/a.png/c")));
    ck_assert_ptr_null(negotiate_type_by_name(adit_view_str("/a.")));
    ck_assert_str_eq(negotiate_type_by_content(adit_view_str("text\n\xC3\xBC")),
                     "text/plain; charset=utf-8");
    ck_assert_str_eq(negotiate_type_by_content(adit_view_mem("\x7F"
                                                             "ELF\0",
                                                             5)),
                     "application/octet-stream");
}
END_TEST

SUITE_MAIN("negotiate", negotiate_ranges_and_conditions,
           negotiate_prefers_identity_and_knows_when_it_may_not, negotiate_dates_in_three_forms,
           negotiate_disposition_fits_the_bytes_of_the_name, negotiate_type_by_name_then_content)
