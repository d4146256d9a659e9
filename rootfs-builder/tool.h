/* SPDX-License-Identifier: Apache-2.0 */
/* Running the programs of other packages that the builder is made of. */
#ifndef ROOTFS_BUILDER_TOOL_H
#define ROOTFS_BUILDER_TOOL_H

#include "base/buf.h"

#define TOOL_ARGS_MAX 128

/*
 * One call. The program gets a PATH, LC_ALL and DEBIAN_FRONTEND, and nothing else of the builder's
 * environment. What is zero is left out.
 * @argv:    ends with NULL, at most TOOL_ARGS_MAX words; argv[0] is looked for in that PATH
 * @package: the Debian package that has it, for people
 * @dir:     where it runs
 * @env:     one more variable, NAME=value
 * @in, @out: its standard input and output if not 0; else nothing comes in, and what it says goes
 *           to stderr
 */
struct tool_call {
    const char *const *argv;
    const char *package, *dir, *env;
    int in, out;
};

/* Run and wait. Its messages go to stderr. Errors: PRECONDITION (not installed), IO (it failed),
 * LIMIT (too many words). */
ADIT_MUST_CHECK int tool_run(const struct tool_call *c, struct adit_err *err);
/* The same; what it writes is appended to @text (@c->out is not used). Errors also: LIMIT. */
ADIT_MUST_CHECK int tool_read(const struct tool_call *c, struct adit_buf *text,
                              struct adit_err *err);

#endif
