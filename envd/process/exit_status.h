/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended, in the words that clients compare (envd-api.md 7.3). No I/O. */
#ifndef ENVD_EXIT_STATUS_H
#define ENVD_EXIT_STATUS_H

#include <stdbool.h>

#define EXIT_STATUS_TEXT_CAP 64

/*
 * @code:   exit code, -1 when a signal ended it
 * @exited: it called exit
 * @text:   "exit status 3", "signal: killed", "signal: aborted (core dumped)"
 */
struct exit_status {
    int code;
    bool exited;
    char text[EXIT_STATUS_TEXT_CAP];
};

/* From the status that waitpid(2) gave. */
void exit_status_of(int wait_status, struct exit_status *out);

#endif
