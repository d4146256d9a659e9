/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between envd and a kernel program: "<letter> <length>\n<bytes>", both ways. No I/O.
 *
 * The cell that runs in the kernel can write what it likes to the channel: everything is checked,
 * and a frame that is none ends that kernel.
 */
#ifndef ENVD_KERNEL_MESSAGE_H
#define ENVD_KERNEL_MESSAGE_H

#include "base/buf.h"

/* Longest body. A result is one frame, and one write of an HTTP answer takes it. */
#define KERNEL_MESSAGE_MAX (12u * 1024 * 1024)
#define KERNEL_MESSAGE_HEAD_CAP 16

/* To the kernel. */
enum kernel_order {
    KERNEL_ORDER_SOURCE = 'S',    /* the kernel's program; the first frame */
    KERNEL_ORDER_GLOBALS = 'G',   /* NAME=value and a NUL, for good */
    KERNEL_ORDER_VARIABLES = 'V', /* the same, for the next cell */
    KERNEL_ORDER_DIRECTORY = 'D', /* enter it */
    KERNEL_ORDER_RUN = 'X',       /* run this cell */
    KERNEL_ORDER_PASSED = 'W',    /* all was taken that came before KERNEL_NEWS_WAITS */
    KERNEL_ORDER_INTERRUPT = 'I', /* end the cell; for those that SIGINT does not reach */
};

/* From the kernel. */
enum kernel_news {
    KERNEL_NEWS_READY = 'R',
    KERNEL_NEWS_STDOUT = 'O',
    KERNEL_NEWS_STDERR = 'E',
    KERNEL_NEWS_PIPES = 'F',  /* something was written to the pipes before what follows */
    KERNEL_NEWS_WAITS = 'W',  /* for KERNEL_ORDER_PASSED, before it has a program write to them */
    KERNEL_NEWS_RESULT = 'P', /* JSON object: the members of a result */
    KERNEL_NEWS_ERROR = 'X',  /* JSON object: name, value, traceback */
    KERNEL_NEWS_DONE = 'D',   /* the cell is over */
};

/* @body: borrowed from what was parsed. */
struct kernel_message {
    enum kernel_news kind;
    struct adit_view body;
};

/*
 * The first frame of @in. @len: its length, or 0 while it is not whole; then *@need says how many
 * bytes its body still lacks, 0 when not even its head is whole.
 * Errors: PROTOCOL (no such letter, no canonical length, above KERNEL_MESSAGE_MAX, a body that is
 * not what the letter says).
 */
ADIT_MUST_CHECK int kernel_message_next(struct adit_view in, struct kernel_message *out,
                                        size_t *len, size_t *need, struct adit_err *err);

/* Append a frame. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int kernel_message_put(struct adit_buf *out, enum kernel_order kind,
                                       struct adit_view body);

#endif
