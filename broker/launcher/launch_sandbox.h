/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every sandbox has, whoever makes it: names in its directory, a group, a first process. As
 * root, in a process of its own (it blocks).
 */
#ifndef BROKER_LAUNCHER_LAUNCH_SANDBOX_H
#define BROKER_LAUNCHER_LAUNCH_SANDBOX_H

#include "broker/launcher/launch_host.h"

/* The first of the sandbox's LAUNCH_UID_CNT user and group ids. */
uid_t launch_sandbox_uid(const struct launch_request *r);

/* A sandbox that is there already is somebody's: to be asked before anything is made that would be
 * undone. Errors: EXISTS. */
ADIT_MUST_CHECK int launch_sandbox_check_new(int sandbox_fd, const char *sandbox_id,
                                             struct adit_err *err);

/* Make a directory and open it. *out belongs to the caller. Errors: EXISTS, IO. */
ADIT_MUST_CHECK int launch_sandbox_make_dir(int parent_fd, const char *name, mode_t mode,
                                            uid_t owner, int *out, struct adit_err *err);

/* A listening socket called @name in the sandbox's directory. Only the broker's user may connect;
 * what the sandbox gets is the descriptor. *out belongs to the caller. Errors: IO. */
ADIT_MUST_CHECK int launch_sandbox_listen(const struct launch_host *h, int sandbox_fd,
                                          const char *name, int *out, struct adit_err *err);

/*
 * What the sandbox's first words go to: a FIFO that the broker reads by its name, also one that
 * starts later. Opened for both directions, so that it never lacks a reader, and without waiting,
 * so that nobody who writes depends on one who reads. *out belongs to the caller. Errors: EXISTS,
 * BAD_INPUT, IO.
 */
ADIT_MUST_CHECK int launch_sandbox_console(int sandbox_fd, int *out, struct adit_err *err);

/* Field 22 of /proc/<pid>/stat. Errors: NOT_FOUND. */
ADIT_MUST_CHECK int launch_sandbox_pid_start(pid_t pid, uint64_t *start, struct adit_err *err);

/* Hold a process that has just been started. *pidfd belongs to the caller. Errors: IO, it has ended
 * already. */
ADIT_MUST_CHECK int launch_sandbox_hold(pid_t pid, uint64_t *pid_start, int *pidfd,
                                        struct adit_err *err);

/* Hold the process that a record names. *pidfd belongs to the caller. Errors: NOT_FOUND when it is
 * gone, or the number is another's now; what else fails says nothing about it. */
ADIT_MUST_CHECK int launch_sandbox_adopt(const struct launch_request *r, int *pidfd,
                                         struct adit_err *err);

/* Remove the sandbox's processes, group, sockets and files. @sandbox_fd: its directory, -1 if that
 * is gone. What is missing is fine. Errors: TIMEOUT, IO. */
ADIT_MUST_CHECK int launch_sandbox_remove(const struct launch_host *h, const char *sandbox_id,
                                          int sandbox_fd, struct adit_err *err);

/* The same for a checked request. Errors: BAD_INPUT, TIMEOUT, IO. */
ADIT_MUST_CHECK int launch_sandbox_destroy(const struct launch_host *h,
                                           const struct launch_request *r, struct adit_err *err);

#endif
