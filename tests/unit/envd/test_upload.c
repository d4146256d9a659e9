/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of POST /files: every way to cut them, break them off and get them wrong. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include "envd/filesystem/upload.h"
#include "net/gzip.h"
#include "net/multipart.h"

#define OCTETS "application/octet-stream"
#define FORM "multipart/form-data; boundary=XX"

static struct user_entry user = {.name = "root", .home = "/nonexistent"};
static struct adit_err err;
static char answer_text[256 * 1024];

struct request {
    const char *path, *type, *encoding;
    struct adit_view body;
    size_t step; /* bytes at a time; 0: all */
};

static int begin(const struct request *r, struct metadata *m, struct upload **u)
{
    struct metadata none = {0};
    struct upload_conf conf = {
        .user = &user,
        .workdir = "",
        .path = r->path ? r->path : "",
        .content_type = adit_view_str(r->type),
        .content_encoding = adit_view_str(r->encoding),
    };
    return upload_new(&conf, m ? m : &none, u, &err);
}

static int feed(struct upload *u, struct adit_view body, size_t step)
{
    int rc = 0;
    while (!rc && body.len) {
        size_t n = step && step < body.len ? step : body.len;
        rc = upload_feed(u, adit_view_mem(body.ptr, n), &err);
        body.ptr += n;
        body.len -= n;
    }
    return rc;
}

/* The whole way. @answer_text: the answer, or the error's message. */
static int run(const struct request *r, struct metadata *m)
{
    struct upload *u = NULL;
    struct adit_buf answer;
    adit_buf_init(&answer, UPLOAD_ANSWER_MAX);
    int rc = begin(r, m, &u);
    if (!rc)
        rc = feed(u, r->body, r->step);
    if (!rc)
        rc = upload_finish(u, &answer, &err);
    upload_free(u);
    (void)snprintf(answer_text, sizeof answer_text, "%.*s",
                   ADIT_VIEW_ARG(rc ? adit_view_str(err.msg) : adit_buf_view(&answer)));
    adit_buf_fini(&answer);
    return rc;
}

/* A form with the parts given as head and content, NULL at the end. @dir in heads: the directory.
 */
static char *make_form(const char *const *parts)
{
    static char text[64 * 1024];
    text[0] = '\0';
    for (; parts[0]; parts += 2)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                       "--XX\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n", parts[0],
                       parts[1]);
    strcat(text, "--XX--\r\n");
    return text;
}

/* name="file"; filename="<dir>/<name>" */
static const char *file_head(const char *name)
{
    static char heads[4][512];
    static unsigned turn;
    char *head = heads[turn++ % 4];
    (void)snprintf(head, 512, "name=\"file\"; filename=\"%s\"", scratch(name));
    return head;
}

static void expect_entry(const char *name, const char *more)
{
    char want[PATH_MAX];
    (void)snprintf(want, sizeof want, "{\"path\":\"%s\",\"name\":\"%s\",\"type\":\"file\"%s}",
                   scratch(name), name, more);
    ck_assert_msg(strstr(answer_text, want) != NULL, "%s", answer_text);
}

START_TEST(upload_raw_body_in_any_pieces)
{
    char *bytes = scratch_bytes(3000);
    static const size_t steps[] = {0, 1, 7, 1000};
    for (size_t i = 0; i < 4; i++) {
        struct request r = {scratch("f"), OCTETS, "", {bytes + i, 2900}, steps[i]};
        ck_assert_int_eq(run(&r, NULL), 0);
        ck_assert(scratch_is("f", bytes + i, 2900));
        expect_entry("f", "");
        ck_assert(answer_text[0] == '[' && answer_text[strlen(answer_text) - 1] == ']');
    }
    struct request empty = {scratch("empty"), OCTETS, "", {NULL, 0}, 0};
    ck_assert_int_eq(run(&empty, NULL), 0);
    ck_assert(scratch_is("empty", "", 0));
    free(bytes);
}
END_TEST

START_TEST(upload_form_cut_at_every_byte)
{
    const char *parts[] = {
        file_head("a"), "one\r\n--X\r\n--", "name=\"other\"", "skipped", file_head("b"), "", NULL};
    char *form = make_form(parts);
    for (size_t step = 1; step < strlen(form); step++) {
        struct request r = {NULL, FORM, "", adit_view_str(form), step};
        ck_assert_int_eq(run(&r, NULL), 0);
        ck_assert(scratch_is("a", "one\r\n--X\r\n--", 12));
        ck_assert(scratch_is("b", "", 0));
        expect_entry("a", "");
        expect_entry("b", "");
        ck_assert_int_eq(unlink(scratch("a")) | unlink(scratch("b")), 0);
    }
    ck_assert_int_eq(scratch_count(scratch_dir), 0);
}
END_TEST

START_TEST(upload_form_path_of_the_query_wins_and_needs_no_filename)
{
    const char *parts[] = {"name=\"file\"", "plain", NULL};
    struct request r = {scratch("q"), FORM, "", adit_view_str(make_form(parts)), 0};
    ck_assert_int_eq(run(&r, NULL), 0);
    ck_assert(scratch_is("q", "plain", 5));
}
END_TEST

START_TEST(upload_form_without_files_answers_an_empty_list)
{
    const char *parts[] = {"name=\"x\"", "y", NULL};
    struct request r = {NULL, FORM, "", adit_view_str(make_form(parts)), 0};
    ck_assert_int_eq(run(&r, NULL), 0);
    ck_assert_str_eq(answer_text, "[]");
}
END_TEST

/* Breaking off after every byte changes nothing: neither before the end is known nor, worst,
 * between the last part and the closing boundary. */
START_TEST(upload_broken_off_at_every_byte_changes_nothing)
{
    const char *parts[] = {file_head("old"), "new content", file_head("fresh"), "x", NULL};
    char *form = make_form(parts);
    struct adit_buf gz;
    adit_buf_init(&gz, 64 * 1024);
    ck_assert_int_eq(gzip_encode_all(adit_view_str(form), &gz, NULL), 0);
    const struct request requests[] = {
        {NULL, FORM, "", adit_view_str(form), 0},
        {NULL, FORM, "gzip", adit_buf_view(&gz), 0},
        {scratch("old"), OCTETS, "gzip", adit_buf_view(&gz), 0},
    };
    scratch_write("old", "old", 3);
    for (size_t i = 0; i < 3; i++) {
        for (size_t len = 0; len + 4 < requests[i].body.len; len++) {
            struct request r = requests[i];
            struct upload *u;
            r.body.len = len;
            /* the client goes away */
            ck_assert_int_eq(begin(&r, NULL, &u), 0);
            ck_assert_int_eq(feed(u, r.body, 0), 0);
            upload_free(u);
            ck_assert(scratch_is("old", "old", 3));
            /* the body ends in good order, but too early */
            ck_assert_int_ne(run(&r, NULL), 0);
            ck_assert(scratch_is("old", "old", 3));
            ck_assert_int_eq(scratch_count(scratch_dir), 1);
        }
    }
    adit_buf_fini(&gz);
}
END_TEST

START_TEST(upload_gzip_body_with_a_wrong_trailer_changes_nothing)
{
    struct adit_buf gz;
    adit_buf_init(&gz, 4096);
    ck_assert_int_eq(gzip_encode_all(adit_view_str("content"), &gz, NULL), 0);
    gz.data[gz.off + gz.len - 6] ^= 1; /* the checksum */
    struct request r = {scratch("f"), OCTETS, "gzip", adit_buf_view(&gz), 0};
    ck_assert_int_eq(run(&r, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(answer_text, "error decompressing request body: "));
    ck_assert_int_eq(scratch_count(scratch_dir), 0);
    adit_buf_fini(&gz);
}
END_TEST

START_TEST(upload_gzip_bodies_are_decoded)
{
    size_t len = 3 * UPLOAD_INFLATE_CAP + 5;
    char *bytes = scratch_bytes(len);
    struct adit_buf gz;
    adit_buf_init(&gz, 4u * 1024 * 1024);
    ck_assert_int_eq(gzip_encode_all(adit_view_mem(bytes, len), &gz, NULL), 0);
    struct request r = {scratch("f"), OCTETS, "gzip", adit_buf_view(&gz), 1000};
    ck_assert_int_eq(run(&r, NULL), 0);
    ck_assert(scratch_is("f", bytes, len));
    adit_buf_fini(&gz);
    free(bytes);
}
END_TEST

START_TEST(upload_same_path_twice_keeps_the_first)
{
    const char *parts[] = {file_head("a"), "one", file_head("b"), "two", file_head("a"),
                           "three",        NULL};
    char want[4096];
    struct request r = {NULL, FORM, "", adit_view_str(make_form(parts)), 0};
    ck_assert_int_eq(run(&r, NULL), ADIT_ERR_BAD_INPUT);
    (void)snprintf(want, sizeof want,
                   "you cannot upload multiple files to the same path '%s' in one upload request, "
                   "only the first specified file was uploaded, also the following files were "
                   "uploaded: %s",
                   scratch("a"), scratch("b"));
    ck_assert_str_eq(answer_text, want);
    ck_assert(scratch_is("a", "one", 3));
    ck_assert(scratch_is("b", "two", 3));
}
END_TEST

START_TEST(upload_many_files_hold_bounded_memory)
{
    /* 12 files of 700 KiB are more than UPLOAD_HELD_MAX: some wait on disk. */
    size_t len = 700 * 1024;
    char *bytes = scratch_bytes(len + 12), head[600];
    struct request r = {NULL, FORM, "", {NULL, 0}, 0};
    struct upload *u;
    struct adit_buf answer;
    adit_buf_init(&answer, UPLOAD_ANSWER_MAX);
    ck_assert_int_eq(begin(&r, NULL, &u), 0);
    for (int i = 0; i < 12; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%d", i);
        (void)snprintf(head, sizeof head, "%s--XX\r\nContent-Disposition: form-data; %s\r\n\r\n",
                       i ? "\r\n" : "", file_head(name));
        ck_assert_int_eq(feed(u, adit_view_str(head), 0), 0);
        ck_assert_int_eq(feed(u, adit_view_mem(bytes + i, len), 65536), 0);
        ck_assert_int_eq(scratch_count(scratch_dir), 0);
    }
    ck_assert_int_eq(feed(u, adit_view_str("\r\n--XX--\r\n"), 0), 0);
    ck_assert_int_eq(upload_finish(u, &answer, &err), 0);
    upload_free(u);
    for (int i = 0; i < 12; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%d", i);
        ck_assert(scratch_is(name, bytes + i, len));
    }
    adit_buf_fini(&answer);
    free(bytes);
}
END_TEST

START_TEST(upload_answers_metadata_only_when_there_is_some)
{
    static struct http_head head;
    struct metadata m;
    head.header_cnt = 2;
    head.headers[0] = (struct http_header){ADIT_VIEW("X-METADATA-Foo"), ADIT_VIEW("bar \"baz\"")};
    head.headers[1] = (struct http_header){ADIT_VIEW("x-metadata-foo"), ADIT_VIEW("second")};
    ck_assert_int_eq(metadata_from_head(&head, &m, &err), 0);
    struct request r = {scratch("f"), OCTETS, "", ADIT_VIEW("x"), 0};
    ck_assert_int_eq(run(&r, &m), 0);
    expect_entry("f", ",\"metadata\":{\"foo\":\"bar \\\"baz\\\"\"}");
    ck_assert_int_eq(run(&r, NULL), 0);
    expect_entry("f", "");
    struct metadata now;
    metadata_read(scratch("f"), &now);
    ck_assert_uint_eq(now.cnt, 0);
}
END_TEST

START_TEST(upload_refusals)
{
    static const struct {
        const char *path, *type, *encoding, *body;
        int code;
        const char *message;
    } rows[] = {
        {"", OCTETS, "", "x", ADIT_ERR_BAD_INPUT,
         "path query parameter is required for raw body upload"},
        {"/f", "text/plain", "", "x", ADIT_ERR_BAD_INPUT,
         "unsupported content type: text/plain, expected multipart/form-data or "
         "application/octet-stream"},
        {"/f", "", "", "x", ADIT_ERR_BAD_INPUT, "unsupported content type: , expected"},
        {"/f", OCTETS, "br", "x", ADIT_ERR_BAD_INPUT,
         "error decompressing request body: unsupported Content-Encoding: br"},
        {"/f", OCTETS, "gzip", "not gzip", ADIT_ERR_BAD_INPUT,
         "error decompressing request body: "},
        {"/f", "multipart/form-data", "", "x", ADIT_ERR_IO, "error parsing multipart form: "},
        {"/f", "multipart/form-data; boundary=", "", "x", ADIT_ERR_IO,
         "error parsing multipart form: "},
        {"/f", FORM, "", "x", ADIT_ERR_IO, "error reading form: "},
        {"/f", FORM, "", "--XX\r\nbad\r\n\r\n", ADIT_ERR_IO, "error reading form: "},
        {"~other/f", OCTETS, "", "x", ADIT_ERR_BAD_INPUT,
         "error resolving path: failed to expand path '~other/f' for user 'root': cannot expand "
         "user-specific home dir"},
        {"/proc", OCTETS, "", "x", ADIT_ERR_BAD_INPUT, "path is a directory: /proc"},
        {"/dev/null", OCTETS, "", "x", ADIT_ERR_BAD_INPUT, "path is not a regular file: /dev/null"},
        {"/dev/null/x", OCTETS, "", "x", ADIT_ERR_IO,
         "error ensuring directories: path is a file: /dev/null"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct request r = {rows[i].path, rows[i].type, rows[i].encoding,
                            adit_view_str(rows[i].body), 0};
        ck_assert_msg(run(&r, NULL) == rows[i].code, "row %zu: %s", i, answer_text);
        ck_assert_msg(strncmp(answer_text, rows[i].message, strlen(rows[i].message)) == 0,
                      "row %zu: %s", i, answer_text);
    }
}
END_TEST

START_TEST(upload_metadata_refusals)
{
    static struct http_head head;
    static char key[300], value[5000];
    struct metadata m;
    memset(key, 'k', 299);
    memset(value, 'v', 4999);
    static const struct {
        size_t key_len, value_len;
        int code;
    } rows[] = {
        {246, 3, 0},  {247, 3, ADIT_ERR_BAD_INPUT},  {0, 3, ADIT_ERR_BAD_INPUT},
        {1, 4086, 0}, {1, 4087, ADIT_ERR_BAD_INPUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[400];
        (void)snprintf(name, sizeof name, "x-metadata-%.*s", (int)rows[i].key_len, key);
        head.header_cnt = 1;
        head.headers[0].name = adit_view_str(name);
        head.headers[0].value = adit_view_mem(value, rows[i].value_len);
        ck_assert_msg(metadata_from_head(&head, &m, &err) == rows[i].code, "row %zu", i);
        ck_assert(!rows[i].code || strncmp(err.msg, "invalid metadata: ", 18) == 0);
        metadata_fini(&m);
    }
    head.headers[0].name = adit_view_str("x-metadata-a");
    head.headers[0].value = adit_view_str("\xC3\xBC");
    ck_assert_int_eq(metadata_from_head(&head, &m, &err), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(upload_full_disk_leaves_the_directory_as_it_was)
{
    scratch_mount("2m");
    scratch_write("old", "old", 3);
    char *bytes = scratch_bytes(4u * 1024 * 1024);
    struct request r = {scratch("old"), OCTETS, "", {bytes, 4u * 1024 * 1024}, 65536};
    ck_assert_int_eq(run(&r, NULL), ADIT_ERR_NO_SPACE);
    ck_assert(scratch_is("old", "old", 3));
    ck_assert_int_eq(scratch_count(scratch_dir), 1);
    free(bytes);
}
END_TEST

SUITE_MAIN_WITH("upload", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(upload_raw_body_in_any_pieces, upload_form_cut_at_every_byte,
                      upload_form_path_of_the_query_wins_and_needs_no_filename,
                      upload_form_without_files_answers_an_empty_list,
                      upload_broken_off_at_every_byte_changes_nothing,
                      upload_gzip_body_with_a_wrong_trailer_changes_nothing,
                      upload_gzip_bodies_are_decoded, upload_same_path_twice_keeps_the_first,
                      upload_many_files_hold_bounded_memory,
                      upload_answers_metadata_only_when_there_is_some, upload_refusals,
                      upload_metadata_refusals, upload_full_disk_leaves_the_directory_as_it_was))
