/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: message, code, context, and what it must leave alone. */
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

START_TEST(err_set_fills_object_and_returns_code)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(adit_err_set(&err, ADIT_ERR_LIMIT, "too many %s: %d", "things", 7),
                     ADIT_ERR_LIMIT);
    ck_assert_int_eq(err.code, ADIT_ERR_LIMIT);
    ck_assert_int_eq(err.sys_errno, 0);
    ck_assert_str_eq(err.msg, "too many things: 7");
}
END_TEST

START_TEST(err_accepts_null_object)
{
    ck_assert_int_eq(adit_err_set(NULL, ADIT_ERR_BUG, "x"), ADIT_ERR_BUG);
    ck_assert_int_eq(adit_err_sys(NULL, ENOENT, "x"), ADIT_ERR_NOT_FOUND);
    ck_assert_int_lt(adit_err_wrap(NULL, "x"), 0);
}
END_TEST

START_TEST(err_sys_derives_code_and_appends_text)
{
    static const struct {
        int sys_errno, code;
    } rows[] = {
        {ENOENT, ADIT_ERR_NOT_FOUND},  {EEXIST, ADIT_ERR_EXISTS},
        {EACCES, ADIT_ERR_DENIED},     {EPERM, ADIT_ERR_DENIED},
        {ENOSPC, ADIT_ERR_NO_SPACE},   {EDQUOT, ADIT_ERR_NO_SPACE},
        {ENOMEM, ADIT_ERR_NO_MEMORY},  {EMFILE, ADIT_ERR_LIMIT},
        {ENFILE, ADIT_ERR_LIMIT},      {EAGAIN, ADIT_ERR_LIMIT},
        {ETIMEDOUT, ADIT_ERR_TIMEOUT}, {EPIPE, ADIT_ERR_CLOSED},
        {ECONNRESET, ADIT_ERR_CLOSED}, {EIO, ADIT_ERR_IO},
        {99999, ADIT_ERR_IO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct adit_err err = ADIT_ERR_INIT;
        ck_assert_int_eq(adit_err_sys(&err, rows[i].sys_errno, "op"), rows[i].code);
        ck_assert_int_eq(err.sys_errno, rows[i].sys_errno);
    }
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_sys(&err, ENOENT, "open %s", "a");
    ck_assert_str_eq(err.msg, "open a: No such file or directory");
}
END_TEST

START_TEST(err_wrap_prefixes_context_and_keeps_code)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_sys(&err, EIO, "read");
    ck_assert_int_eq(adit_err_wrap(&err, "layer %d", 3), ADIT_ERR_IO);
    ck_assert_int_eq(adit_err_wrap(&err, "image"), ADIT_ERR_IO);
    ck_assert_str_eq(err.msg, "image: layer 3: read: Input/output error");
    ck_assert_int_eq(err.sys_errno, EIO);
}
END_TEST

START_TEST(err_cuts_long_text_and_keeps_outermost_context)
{
    char text[2 * ADIT_ERR_MSG_CAP];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_BAD_INPUT, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), ADIT_ERR_MSG_CAP - 1);
    (void)adit_err_wrap(&err, "outer");
    ck_assert_uint_eq(strlen(err.msg), ADIT_ERR_MSG_CAP - 1);
    ck_assert_int_eq(strncmp(err.msg, "outer: xxx", 10), 0);
    (void)adit_err_sys(&err, ENOENT, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), ADIT_ERR_MSG_CAP - 1);
}
END_TEST

START_TEST(err_keeps_errno)
{
    struct adit_err err = ADIT_ERR_INIT;
    errno = EBADF;
    (void)adit_err_set(&err, ADIT_ERR_IO, "%d", 1);
    (void)adit_err_sys(&err, ENOENT, "%d", 1);
    (void)adit_err_wrap(&err, "%d", 1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(err_names_every_code)
{
    ck_assert_str_eq(adit_err_name(ADIT_OK), "ok");
    ck_assert_str_eq(adit_err_name(ADIT_ERR_NOT_FOUND), "not_found");
    for (int code = 0; code >= ADIT_ERR_UNKNOWN; code--)
        ck_assert_ptr_nonnull(adit_err_name(code));
    ck_assert_str_eq(adit_err_name(1), "unknown");
    ck_assert_str_eq(adit_err_name(-1000), "unknown");
}
END_TEST

SUITE_MAIN("err", err_set_fills_object_and_returns_code, err_accepts_null_object,
           err_sys_derives_code_and_appends_text, err_wrap_prefixes_context_and_keeps_code,
           err_cuts_long_text_and_keeps_outermost_context, err_keeps_errno, err_names_every_code)
