/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a guest's first process says: lines of a FIFO, at a bounded rate. */
#ifndef BROKER_NODE_CONSOLE_H
#define BROKER_NODE_CONSOLE_H

#include "base/buf.h"
#include "base/limit.h"
#include "net/net_loop.h"

/* A longer line is cut; what is behind the cut is dropped. */
#define CONSOLE_LINE_CAP 8192
/* Bytes are read in steps; so many at once and a second. A guest that says more finds its pipe full
 * until the next step. */
#define CONSOLE_STEP 4096
#define CONSOLE_STEPS_BURST 32
#define CONSOLE_STEPS_PER_S 16
#define CONSOLE_PAUSE_MS 250
/* Lines given on, at once and a second; the others are counted. */
#define CONSOLE_LINES_BURST 1000
#define CONSOLE_LINES_PER_S 100

struct console;

/* @line: without its end, never empty. @cnt: lines that were not given on before it. Neither may
 * close the console. */
struct console_ops {
    void (*on_line)(void *owner, struct adit_view line);
    void (*on_dropped)(void *owner, uint64_t cnt);
};

/* Read the FIFO at @path. Errors: NOT_FOUND (the driver has no console), BAD_INPUT (no FIFO), IO,
 * NO_MEMORY. */
ADIT_MUST_CHECK int console_open(struct net_loop *loop, const char *path,
                                 const struct console_ops *ops, void *owner, struct console **out,
                                 struct adit_err *err);
/* Give on what is there, as far as it may be read at once: nobody writes any more. */
void console_drain(struct console *c);
/* Give on what is there (CONSOLE_STEPS_BURST steps at most) and close. NULL is fine. */
void console_close(struct console *c);

#endif
