/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error codes and the error object.
 *
 * Theory of operation
 *
 * Every fallible function returns int: 0, or one negative code of enum adit_err_code. Its last
 * argument is a struct adit_err on the caller's stack (may be NULL when the caller needs only the
 * code). The object is written exactly once, on failure only; adit_err_wrap() prefixes context on
 * the way up. Nothing here allocates, so it works when memory is gone. A code becomes an HTTP
 * status, a Connect code or an exit status in lib/rpc/status.c and nowhere else.
 */
#ifndef ADIT_BASE_ERR_H
#define ADIT_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* Checked by clang builds only: gcc has no way to say "(void) because …" at a call. */
#ifdef __clang__
#define ADIT_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ADIT_MUST_CHECK
#endif
#define ADIT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Length of the message in an error object, with its NUL; longer text is cut. */
#define ADIT_ERR_MSG_CAP 320

enum adit_err_code {
    ADIT_OK = 0,
    ADIT_ERR_BAD_INPUT = -1,       /* the peer or user sent something we refuse */
    ADIT_ERR_UNAUTHENTICATED = -2, /* no or wrong credential */
    ADIT_ERR_DENIED = -3,          /* credential known, not allowed */
    ADIT_ERR_NOT_FOUND = -4,
    ADIT_ERR_EXISTS = -5,
    ADIT_ERR_LIMIT = -6,    /* a named maximum was reached */
    ADIT_ERR_NO_SPACE = -7, /* disk or inodes */
    ADIT_ERR_TIMEOUT = -8,  /* a deadline passed */
    ADIT_ERR_PROTOCOL = -9, /* peer broke the protocol; the connection is not usable */
    ADIT_ERR_CLOSED = -10,  /* peer went away */
    ADIT_ERR_NO_MEMORY = -11,
    ADIT_ERR_IO = -12, /* a system call failed; see sys_errno */
    ADIT_ERR_BUG = -13,
    ADIT_ERR_UNIMPLEMENTED = -14,
    ADIT_ERR_UNAVAILABLE = -15, /* try again later, or elsewhere */
    ADIT_ERR_PRECONDITION = -16,
    ADIT_ERR_CANCELED = -17,
    ADIT_ERR_CONFLICT = -18,
    ADIT_ERR_UNKNOWN = -19,
};

/*
 * @code:      enum adit_err_code, 0 while nothing failed
 * @sys_errno: errno at the point of failure, or 0
 * @msg:       one line for a person, without newline
 */
struct adit_err {
    int code;
    int sys_errno;
    char msg[ADIT_ERR_MSG_CAP];
};

/* An error object that says nothing yet. */
#define ADIT_ERR_INIT                                                                              \
    {                                                                                              \
        0, 0, ""                                                                                   \
    }

/* Fill @err (may be NULL) and return @code, so that callers can write `return adit_err_set(…)`. */
int adit_err_set(struct adit_err *err, int code, const char *fmt, ...) ADIT_PRINTF(3, 4);

/*
 * The same for a failed system call: appends ": " and the text of @sys_errno. The code is derived:
 * ENOENT → NOT_FOUND, EEXIST → EXISTS, EACCES/EPERM → DENIED, ENOSPC/EDQUOT → NO_SPACE,
 * ENOMEM → NO_MEMORY, EMFILE/ENFILE/EAGAIN(as EPROC limit) → LIMIT, ETIMEDOUT → TIMEOUT,
 * EPIPE/ECONNRESET → CLOSED, everything else → IO.
 */
int adit_err_sys(struct adit_err *err, int sys_errno, const char *fmt, ...) ADIT_PRINTF(3, 4);

/* Prefix "<text>: " to the message of @err (may be NULL). Return: err's code, unchanged. */
int adit_err_wrap(struct adit_err *err, const char *fmt, ...) ADIT_PRINTF(2, 3);

/* Return: the code's lower-case word ("not_found"), for logs; never NULL. */
const char *adit_err_name(int code);

#endif
