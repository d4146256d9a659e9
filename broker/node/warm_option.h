/* SPDX-License-Identifier: Apache-2.0 */
/* The option --warm: how many sandboxes of which templates wait booted. No I/O. */
#ifndef BROKER_NODE_WARM_OPTION_H
#define BROKER_NODE_WARM_OPTION_H

#include "base/view.h"

#define WARM_OPTION_ROWS_MAX 16
#define WARM_OPTION_COUNT_MAX 256
#define WARM_OPTION_REF_CAP 160
#define WARM_OPTION_ISOLATION_CAP 16

/* @ref: id or alias of a template. @isolation: empty for the host's own */
struct warm_option_row {
    char ref[WARM_OPTION_REF_CAP];
    char isolation[WARM_OPTION_ISOLATION_CAP];
    unsigned count;
};

struct warm_option {
    struct warm_option_row rows[WARM_OPTION_ROWS_MAX];
    size_t cnt;
};

/* "TEMPLATE[:ISOLATION]=N,…"; an empty text is no row. Errors: BAD_INPUT, naming the row. */
ADIT_MUST_CHECK int warm_option_parse(const char *text, struct warm_option *out,
                                      struct adit_err *err);

#endif
