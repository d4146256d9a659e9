/* SPDX-License-Identifier: Apache-2.0 */
/* multipart/form-data: parts, names, cuts, refusals. */
#include "net/multipart.h"

#include "tests/fuzz/multipart_transcript.h"

#include "tests/unit/suite.h"
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TYPE "multipart/form-data; boundary=BB"
#define FILE_HEAD "Content-Disposition: form-data; name=\"file\"; filename=\"/a/b\"\r\n"

static const char *text_of(struct multipart_transcript *t)
{
    multipart_transcript_must(adit_buf_append(&t->text, "", 1));
    return adit_buf_view(&t->text).ptr;
}

/* The verdict does not depend on where the bytes are cut: one cut at every place, and every byte.
 */
static void check_body(struct adit_view body, int code, const char *wanted)
{
    struct multipart_transcript t;
    for (size_t cut = 0; cut <= body.len + 1; cut++) {
        multipart_transcript_run(&t, adit_view_str(TYPE), body, cut, cut > body.len ? 1 : SIZE_MAX);
        ck_assert_msg(t.code == code, "cut at %zu of %.*s: %d", cut, ADIT_VIEW_ARG(body), t.code);
        if (wanted)
            ck_assert_str_eq(text_of(&t), wanted);
        multipart_transcript_fini(&t);
    }
}

START_TEST(multipart_reads_parts)
{
    static const struct adit_view body =
        ADIT_VIEW("preamble\r\n--BB\r\n" FILE_HEAD "Content-Type: text/plain\r\n\r\none\r\ntwo"
                  "\r\n--BB  \t\r\ncontent-disposition:form-data;name=x\r\n\r\n"
                  "\r\n--BB--\r\nepilogue\r\n--BB\r\n");
    check_body(body, ADIT_OK,
               "PART 1 'file' 1 '/a/b' type 'text/plain'\nDATA [one\r\ntwo]\nPART_END\n"
               "PART 1 'x' 0 '' type ''\nPART_END\nEND\n0\n");
}
END_TEST

START_TEST(multipart_reads_a_body_without_preamble)
{
    static const struct adit_view body = ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\nhello\r\n--BB--");
    check_body(body, ADIT_OK, "PART 1 'file' 1 '/a/b' type ''\nDATA [hello]\nPART_END\nEND\n0\n");
}
END_TEST

START_TEST(multipart_reads_empty_parts)
{
    static const struct adit_view none = ADIT_VIEW("--BB--\r\n"),
                                  head_only = ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\n--BB--\r\n"),
                                  no_head = ADIT_VIEW("--BB\r\n\r\nx\r\n--BB--\r\n");
    check_body(none, ADIT_OK, "END\n0\n");
    check_body(head_only, ADIT_OK, "PART 1 'file' 1 '/a/b' type ''\nPART_END\nEND\n0\n");
    check_body(no_head, ADIT_OK, "PART 0 '' 0 '' type ''\nDATA [x]\nPART_END\nEND\n0\n");
}
END_TEST

START_TEST(multipart_gives_out_what_only_looks_like_a_boundary)
{
    static const struct adit_view body =
        ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\n--B\r\n--B\r\r\n\r\n--\r\n-\r\n\r\n--bb\n--BB --BB\r"
                  "\r\n--BB--");
    check_body(body, ADIT_OK,
               "PART 1 'file' 1 '/a/b' type ''\n"
               "DATA [--B\r\n--B\r\r\n\r\n--\r\n-\r\n\r\n--bb\n--BB --BB\r]\nPART_END\nEND\n0\n");
}
END_TEST

static void check_filename(const char *parameters, const char *filename)
{
    struct adit_buf body;
    struct multipart_transcript t;
    char wanted[256];
    adit_buf_init(&body, 4096);
    multipart_transcript_must(adit_buf_appendf(
        &body, "--BB\r\nContent-Disposition: form-data%s\r\n\r\n\r\n--BB--", parameters));
    multipart_transcript_run(&t, adit_view_str(TYPE), adit_buf_view(&body), SIZE_MAX, SIZE_MAX);
    if (filename) {
        snprintf(wanted, sizeof(wanted), "PART 1 'f' 1 '%s' type ''\nPART_END\nEND\n0\n", filename);
        ck_assert_str_eq(text_of(&t), wanted);
    } else {
        ck_assert_msg(t.code == ADIT_ERR_BAD_INPUT, "%s", parameters);
    }
    multipart_transcript_fini(&t);
    adit_buf_fini(&body);
}

START_TEST(multipart_unquotes_names)
{
    check_filename("; name=\"f\"; filename=\"a b;c\"", "a b;c");
    check_filename(";filename=\"a\";name=f;", "a");
    check_filename("; NAME=f ; x=y; FileName=\"%22%0D%0a%41%\"", "\"\r\n%41%");
    check_filename("; name=f; filename=\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d");
    check_filename("; name=f; filename=%22", "%22"); /* a token is as it is */
    check_filename("; name=f; filename=\"\"", "");
    check_filename("; name=f; filename=\"\xc3\xa4\"", "\xc3\xa4");
    check_filename("; name=f; filename*=utf-8''x; filename=\"a\"", "a");
}
END_TEST

START_TEST(multipart_refuses_malformed_names)
{
    static const char *const bad[] = {"; name",
                                      "; name=",
                                      "; =x",
                                      "; name=\"x",
                                      "; name=\"x\\\"",
                                      "; name=x y",
                                      "; name=x; name=y",
                                      "; filename=x; filename=x",
                                      " name=x",
                                      ";; name=x",
                                      "; name=\"x\"y",
                                      "; na me=x"};
    for (size_t i = 0; i < COUNT(bad); i++)
        check_filename(bad[i], NULL);
}
END_TEST

START_TEST(multipart_part_of_another_disposition_has_no_name)
{
    static const struct adit_view body =
        ADIT_VIEW("--BB\r\nContent-Disposition: attachment; name=\"x\"\r\n\r\n\r\n--BB--");
    check_body(body, ADIT_OK, "PART 0 '' 0 '' type ''\nPART_END\nEND\n0\n");
}
END_TEST

START_TEST(multipart_refuses_broken_bodies)
{
    static const struct adit_view bad[] = {
        ADIT_VIEW(""),
        ADIT_VIEW("hello"),
        ADIT_VIEW("--BB"),
        ADIT_VIEW("--BB-"),
        ADIT_VIEW("--BB\r\n"),
        ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\nhello"),
        ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\nhello\r\n--BB"),
        ADIT_VIEW("--BB\r\n" FILE_HEAD "\r\nhello\r\n--BB-x"),
        ADIT_VIEW("--BBx\r\n" FILE_HEAD "\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB\n" FILE_HEAD "\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB \rx\r\n" FILE_HEAD "\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB --\r\n"),
        ADIT_VIEW("--BB\r\nno colon\r\n\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB\r\nA: b\n\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB\r\nA: b\r\n folded\r\n\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB\r\n" FILE_HEAD FILE_HEAD "\r\nhello\r\n--BB--"),
        ADIT_VIEW("--BB\r\nA: b\0\r\n\r\nhello\r\n--BB--"),
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        check_body(bad[i], ADIT_ERR_BAD_INPUT, NULL);
}
END_TEST

START_TEST(multipart_error_is_final)
{
    struct multipart *m;
    struct multipart_part part;
    struct adit_view data, in = ADIT_VIEW("--BBx"), more = ADIT_VIEW("\r\n--BB--");
    enum multipart_event event;
    ck_assert_int_eq(multipart_new(adit_view_str(TYPE), &m, NULL), ADIT_OK);
    ck_assert_int_eq(multipart_next(m, &in, &part, &data, &event, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(multipart_next(m, &more, &part, &data, &event, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(multipart_finish(m, NULL), ADIT_ERR_BAD_INPUT);
    multipart_free(m);
}
END_TEST

static int code_of(const char *content_type)
{
    struct multipart_transcript t;
    multipart_transcript_run(&t, adit_view_str(content_type), adit_view_str("--BB--"), SIZE_MAX,
                             SIZE_MAX);
    multipart_transcript_fini(&t);
    return t.code;
}

START_TEST(multipart_finds_the_boundary)
{
    static const char *const good[] = {TYPE, "Multipart/Form-Data;boundary=\"BB\"",
                                       "multipart/mixed ; charset=utf-8 ; BOUNDARY=BB ;",
                                       " multipart/form-data; x=\"a;boundary=y\"; boundary=BB"};
    static const char *const bad[] = {"",
                                      "text/plain; boundary=BB",
                                      "multipart/form-data",
                                      "multipart/; boundary=BB",
                                      "multipart/form-data boundary=BB",
                                      "multipart/form-data; boundary",
                                      "multipart/form-data; boundary=",
                                      "multipart/form-data; boundary=\"\"",
                                      "multipart/form-data; boundary=\"BB",
                                      "multipart/form-data; boundary=\"BB \"",
                                      "multipart/form-data; boundary=\"B\\\"B\"",
                                      "multipart/form-data; boundary=B*B",
                                      "multipart/form-data; boundary=BB; boundary=BB"};
    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(code_of(good[i]) == ADIT_OK, "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(code_of(bad[i]) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
}
END_TEST

START_TEST(multipart_bounds_the_boundary)
{
    char type[128] = "multipart/form-data; boundary=";
    struct multipart *m;
    size_t len = strlen(type);
    memset(type + len, 'b', MULTIPART_BOUNDARY_CAP + 1);
    ck_assert_int_eq(multipart_new(adit_view_mem(type, len + MULTIPART_BOUNDARY_CAP), &m, NULL),
                     ADIT_OK);
    multipart_free(m);
    ck_assert_int_eq(multipart_new(adit_view_mem(type, len + MULTIPART_BOUNDARY_CAP + 1), &m, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

/* @start, @cnt times @unit, @end. */
static void check_repeated(const char *start, const char *unit, size_t cnt, const char *end,
                           int code)
{
    struct adit_buf body;
    struct multipart_transcript t;
    adit_buf_init(&body, 1024 * 1024);
    multipart_transcript_must(adit_buf_append_str(&body, start));
    for (size_t i = 0; i < cnt; i++)
        multipart_transcript_must(adit_buf_append_str(&body, unit));
    multipart_transcript_must(adit_buf_append_str(&body, end));
    for (size_t step = 1; step != 0; step = step == 1 ? SIZE_MAX : 0) {
        multipart_transcript_run(&t, adit_view_str(TYPE), adit_buf_view(&body), step, step);
        ck_assert_int_eq(t.code, code);
        multipart_transcript_fini(&t);
    }
    adit_buf_fini(&body);
}

START_TEST(multipart_bounds_parts)
{
    check_repeated("", "--BB\r\n\r\n\r\n", MULTIPART_PARTS_MAX, "--BB--", ADIT_OK);
    check_repeated("", "--BB\r\n\r\n\r\n", MULTIPART_PARTS_MAX + 1, "--BB--", ADIT_ERR_LIMIT);
}
END_TEST

START_TEST(multipart_bounds_part_heads)
{
    check_repeated("--BB\r\nA: ", "x", MULTIPART_PART_HEAD_CAP - 7, "\r\n\r\n\r\n--BB--", ADIT_OK);
    check_repeated("--BB\r\nA: ", "x", MULTIPART_PART_HEAD_CAP - 6, "\r\n\r\n\r\n--BB--",
                   ADIT_ERR_LIMIT);
    check_repeated("--BB", " ", MULTIPART_PART_HEAD_CAP + 1, "\r\n\r\n\r\n--BB--", ADIT_ERR_LIMIT);
}
END_TEST

SUITE_MAIN("multipart", multipart_reads_parts, multipart_reads_a_body_without_preamble,
           multipart_reads_empty_parts, multipart_gives_out_what_only_looks_like_a_boundary,
           multipart_unquotes_names, multipart_refuses_malformed_names,
           multipart_part_of_another_disposition_has_no_name, multipart_refuses_broken_bodies,
           multipart_error_is_final, multipart_finds_the_boundary, multipart_bounds_the_boundary,
           multipart_bounds_parts, multipart_bounds_part_heads)
