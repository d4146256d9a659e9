/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptors between envd and a child: three pipes, or one terminal. */
#ifndef ENVD_STDIO_FDS_H
#define ENVD_STDIO_FDS_H

#include <stdint.h>

#include "base/user.h"

/*
 * -1 where there is none. envd's ends do not block.
 *
 * @child:    what becomes 0, 1, 2; the same descriptor three times for a terminal
 * @input:    envd writes the child's input here
 * @output:   envd reads here: stdout (or the terminal) and stderr
 */
struct stdio_fds {
    int child[3];
    int input;
    int output[2];
};

/* @with_stdin false: the child reads from /dev/null. Everything is close-on-exec. */
ADIT_MUST_CHECK int stdio_fds_pipes(const struct user_entry *user, bool with_stdin,
                                    struct stdio_fds *out, struct adit_err *err);
ADIT_MUST_CHECK int stdio_fds_pty(const struct user_entry *user, uint32_t cols, uint32_t rows,
                                  struct stdio_fds *out, struct adit_err *err);
/* Close all that is still open. */
void stdio_fds_close(struct stdio_fds *f);
ADIT_MUST_CHECK int stdio_fds_resize(int pty_fd, uint32_t cols, uint32_t rows,
                                     struct adit_err *err);

#endif
