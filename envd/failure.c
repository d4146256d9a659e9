/* SPDX-License-Identifier: Apache-2.0 */
/* Failed system calls in the words that clients know. */
/*
 * Theory of operation
 *
 * Clients of the wire contract match on texts of errors, and those begin in lower case. The message
 * is formatted into the caller's object; nothing allocates.
 */
#include "envd/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ADIT_PRINTF(3, 0)
static void fill(struct adit_err *err, int sys_errno, const char *fmt, va_list ap)
{
    int len = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    const char *text = strerrordesc_np(sys_errno);

    err->sys_errno = sys_errno;
    if (len < 0 || (size_t)len + 3 >= sizeof err->msg)
        return;
    char *tail = err->msg + len;
    (void)snprintf(tail, sizeof err->msg - (size_t)len, ": %s", text ? text : "unknown error");
    if (tail[2] >= 'A' && tail[2] <= 'Z')
        tail[2] = (char)(tail[2] - 'A' + 'a');
}

int failure_sys(struct adit_err *err, int sys_errno, const char *fmt, ...)
{
    int code = adit_err_sys(err, sys_errno, "%s", "");
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, sys_errno, fmt, ap);
        va_end(ap);
    }
    return code;
}

int failure_as(struct adit_err *err, int code, int sys_errno, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, sys_errno, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}
