/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use /files: token, signature, expiry. */
#include "tests/unit/suite.h"
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "envd/filesystem/files.h"
#include "net/url.h"

#define TOKEN "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0"

static struct envd e;
static struct http_head head;
static struct adit_err err;
static int64_t now_ns = INT64_C(1700000000) * 1000000000;

static int64_t fake_wall(void)
{
    return now_ns;
}

static void setup(void)
{
    (void)snprintf(e.access_token, sizeof e.access_token, "%s", TOKEN);
    head.header_cnt = 0;
    adit_clock_set(NULL, fake_wall);
}

static const char *sign(const char *path, const char *operation, const char *user,
                        const char *expiration)
{
    static char text[128];
    struct adit_buf b;
    struct files_signed s = {adit_view_str(path), adit_view_str(operation), adit_view_str(user),
                             adit_view_str(TOKEN), adit_view_str(expiration)};
    adit_buf_init(&b, sizeof text);
    ck_assert_int_eq(files_sign(&s, &b), 0);
    (void)snprintf(text, sizeof text, "%.*s", ADIT_VIEW_ARG(adit_buf_view(&b)));
    adit_buf_fini(&b);
    return text;
}

/* "path=<path>&…&signature=<encoded>" */
static const char *query(const char *rest, const char *signature)
{
    static char text[1024];
    struct adit_buf b;
    adit_buf_init(&b, sizeof(text));
    for (const char *c = signature; *c; c++)
        ck_assert_int_eq(adit_buf_appendf(&b, "%%%02X", (unsigned char)*c), 0);
    (void)snprintf(text, sizeof text, "%s&signature=%.*s", rest, ADIT_VIEW_ARG(adit_buf_view(&b)));
    adit_buf_fini(&b);
    return text;
}

static int check(const char *query_text, const char *operation)
{
    return files_authorize(&e, &head, adit_view_str(query_text), operation, &err);
}

static void set_header(const char *token)
{
    head.header_cnt = 1;
    head.headers[0].name = adit_view_str("x-access-token");
    head.headers[0].value = adit_view_str(token);
}

START_TEST(files_auth_signature_is_the_published_vector)
{
    ck_assert_str_eq(sign("hello.txt", "read", "user", ""),
                     "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E");
}
END_TEST

START_TEST(files_auth_open_sandbox_asks_for_nothing)
{
    e.access_token[0] = '\0';
    set_header("whatever");
    ck_assert_int_eq(check("path=a", "read"), 0);
}
END_TEST

START_TEST(files_auth_header)
{
    set_header(TOKEN);
    ck_assert_int_eq(check("path=a", "write"), 0);
    set_header("wrong");
    ck_assert_int_eq(check("path=a", "write"), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(err.msg, "access token present in header but does not match");
    /* a wrong header is not made good by a right signature */
    ck_assert_int_eq(
        check(query("path=hello.txt&username=user", sign("hello.txt", "read", "user", "")), "read"),
        ADIT_ERR_UNAUTHENTICATED);
    set_header(TOKEN);
    head.headers[1] = head.headers[0];
    head.header_cnt = 2; /* which of two counts is nobody's business to guess */
    ck_assert_int_eq(check("path=a", "write"), ADIT_ERR_UNAUTHENTICATED);
}
END_TEST

START_TEST(files_auth_signature_is_good_for_its_own_request_only)
{
    const char *s = sign("hello.txt", "read", "user", "");
    ck_assert_int_eq(check(query("path=hello.txt&username=user", s), "read"), 0);
    ck_assert_int_eq(check(query("username=user&path=hello%2Etxt", s), "read"), 0);
    static const struct {
        const char *rest, *operation;
    } rows[] = {
        {"path=hello.txt&username=user", "write"},
        {"path=hello.tx&username=user", "read"},
        {"path=hello.txt&username=root", "read"},
        {"path=hello.txt", "read"},
        {"path=./hello.txt&username=user", "read"},
        {"username=user", "read"},
        {"path=hello.txt&username=user&signature_expiration=1800000000", "read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(check(query(rows[i].rest, s), rows[i].operation),
                         ADIT_ERR_UNAUTHENTICATED);
        ck_assert_str_eq(err.msg, "invalid signature");
    }
    ck_assert_int_eq(check("path=hello.txt&username=user", "read"), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(err.msg, "missing signature query parameter");
    ck_assert_int_eq(check("path=hello.txt&username=user&signature=", "read"),
                     ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(err.msg, "invalid signature");
    ck_assert_int_eq(check("path=%zz&signature=v1_x", "read"), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(files_auth_expiry_comes_after_the_signature)
{
    static const struct {
        const char *expiration;
        int code;
        const char *message;
    } rows[] = {
        {"1700000000", 0, ""},
        {"1700000001", 0, ""},
        {"1699999999", ADIT_ERR_UNAUTHENTICATED, "signature is already expired"},
        {"-10", ADIT_ERR_UNAUTHENTICATED, "signature is already expired"},
        {"tomorrow", ADIT_ERR_BAD_INPUT, "invalid signature_expiration"},
        {"99999999999999999999", ADIT_ERR_BAD_INPUT, "invalid signature_expiration"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char rest[128];
        (void)snprintf(rest, sizeof rest, "path=a&signature_expiration=%s", rows[i].expiration);
        ck_assert_int_eq(check(query(rest, sign("a", "write", "", rows[i].expiration)), "write"),
                         rows[i].code);
        ck_assert(!rows[i].code || strcmp(err.msg, rows[i].message) == 0);
        ck_assert_int_eq(check(query(rest, "v1_forged"), "write"), ADIT_ERR_UNAUTHENTICATED);
        ck_assert_str_eq(err.msg, "invalid signature");
    }
}
END_TEST

SUITE_MAIN_WITH("files_auth", .fixtures = {{setup, NULL}},
                TESTS(files_auth_signature_is_the_published_vector,
                      files_auth_open_sandbox_asks_for_nothing, files_auth_header,
                      files_auth_signature_is_good_for_its_own_request_only,
                      files_auth_expiry_comes_after_the_signature))
