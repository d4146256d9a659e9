/* SPDX-License-Identifier: Apache-2.0 */
/* Failed system calls in the words that clients know: "lstat /x: no such file or directory". */
#ifndef ENVD_FAILURE_H
#define ENVD_FAILURE_H

#include "base/err.h"

/* As adit_err_sys, with the text of @sys_errno beginning in lower case. */
int failure_sys(struct adit_err *err, int sys_errno, const char *fmt, ...) ADIT_PRINTF(3, 4);
/* The same under @code, whatever @sys_errno is. */
int failure_as(struct adit_err *err, int code, int sys_errno, const char *fmt, ...)
    ADIT_PRINTF(4, 5);

#endif
