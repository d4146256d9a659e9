/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clang's static analyzer cannot see from one file: read before each source by `make tidy`,
 * and by no compiler.
 */
#ifndef ADIT_TESTS_ANALYZER_MODEL_H
#define ADIT_TESTS_ANALYZER_MODEL_H

#include "base/buf.h"
#include "base/err.h"
#include "rpc/jsontext.h"

/* The result of setting an error is that error, never 0. */
#define adit_err_set(err, code, ...) ((void)adit_err_set((err), (code), __VA_ARGS__), (code))
#define adit_err_sys(err, sys_errno, ...)                                                          \
    ((void)adit_err_sys((err), (sys_errno), __VA_ARGS__), ADIT_ERR_IO)
#define adit_err_wrap(err, ...) ((void)adit_err_wrap((err), __VA_ARGS__), ADIT_ERR_IO)
#define jsontext_fail(t, code, what) ((void)jsontext_fail((t), (code), (what)), (code))

/* A view without bytes has no length. */
static inline struct adit_view analyzer_view(struct adit_view v)
{
    if (!v.ptr && v.len)
        __builtin_unreachable();
    return v;
}
#define adit_buf_view(b) analyzer_view(adit_buf_view(b))

#endif
