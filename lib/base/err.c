/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes and the error object. */
/*
 * Theory of operation
 *
 * What     Formats messages into the caller's fixed object. vsnprintf cuts long text, so a message
 *          is always one NUL-terminated string.
 * Limits   ADIT_ERR_MSG_CAP bytes, with every context prefix counted: when a prefix does not fit,
 *          the tail of the message gives way, because the outermost context is what finds the
 * place. Failure  None: nothing here allocates, and errno is not changed.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

ADIT_PRINTF(2, 0) static void format(struct adit_err *err, const char *fmt, va_list ap)
{
    if (vsnprintf(err->msg, sizeof err->msg, fmt, ap) < 0)
        err->msg[0] = '\0';
}

int adit_err_set(struct adit_err *err, int code, const char *fmt, ...)
{
    if (err) {
        int saved_errno = errno;
        va_list ap;
        va_start(ap, fmt);
        format(err, fmt, ap);
        va_end(ap);
        err->code = code;
        err->sys_errno = 0;
        errno = saved_errno;
    }
    return code;
}

static int code_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
        return ADIT_ERR_NOT_FOUND;
    case EEXIST:
        return ADIT_ERR_EXISTS;
    case EACCES:
    case EPERM:
        return ADIT_ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
        return ADIT_ERR_NO_SPACE;
    case ENOMEM:
        return ADIT_ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case EAGAIN: /* of fork and clone: the process limit */
        return ADIT_ERR_LIMIT;
    case ETIMEDOUT:
        return ADIT_ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
        return ADIT_ERR_CLOSED;
    default:
        return ADIT_ERR_IO;
    }
}

int adit_err_sys(struct adit_err *err, int sys_errno, const char *fmt, ...)
{
    int code = code_of_errno(sys_errno);
    if (err) {
        int saved_errno = errno;
        const char *text = strerrordesc_np(sys_errno);
        va_list ap;
        va_start(ap, fmt);
        format(err, fmt, ap);
        va_end(ap);
        size_t len = strlen(err->msg);
        if (text)
            (void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", text);
        else
            (void)snprintf(err->msg + len, sizeof err->msg - len, ": error %d", sys_errno);
        err->code = code;
        err->sys_errno = sys_errno;
        errno = saved_errno;
    }
    return code;
}

int adit_err_wrap(struct adit_err *err, const char *fmt, ...)
{
    if (!err)
        return ADIT_ERR_UNKNOWN;

    int saved_errno = errno;
    char inner[ADIT_ERR_MSG_CAP];
    memcpy(inner, err->msg, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    format(err, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->msg);
    (void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", inner);
    errno = saved_errno;
    return err->code;
}

const char *adit_err_name(int code)
{
    static const char *const names[] = {
        [-ADIT_OK] = "ok",
        [-ADIT_ERR_BAD_INPUT] = "bad_input",
        [-ADIT_ERR_UNAUTHENTICATED] = "unauthenticated",
        [-ADIT_ERR_DENIED] = "denied",
        [-ADIT_ERR_NOT_FOUND] = "not_found",
        [-ADIT_ERR_EXISTS] = "exists",
        [-ADIT_ERR_LIMIT] = "limit",
        [-ADIT_ERR_NO_SPACE] = "no_space",
        [-ADIT_ERR_TIMEOUT] = "timeout",
        [-ADIT_ERR_PROTOCOL] = "protocol",
        [-ADIT_ERR_CLOSED] = "closed",
        [-ADIT_ERR_NO_MEMORY] = "no_memory",
        [-ADIT_ERR_IO] = "io",
        [-ADIT_ERR_BUG] = "bug",
        [-ADIT_ERR_UNIMPLEMENTED] = "unimplemented",
        [-ADIT_ERR_UNAVAILABLE] = "unavailable",
        [-ADIT_ERR_PRECONDITION] = "precondition",
        [-ADIT_ERR_CANCELED] = "canceled",
        [-ADIT_ERR_CONFLICT] = "conflict",
        [-ADIT_ERR_UNKNOWN] = "unknown",
    };
    if (code > 0 || code < ADIT_ERR_UNKNOWN)
        return "unknown";
    return names[-code];
}
