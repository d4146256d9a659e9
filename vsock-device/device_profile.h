/* SPDX-License-Identifier: Apache-2.0 */
/* What the process may do once it serves. */
#ifndef ADIT_VSOCK_DEVICE_DEVICE_PROFILE_H
#define ADIT_VSOCK_DEVICE_DEVICE_PROFILE_H

#include <stdbool.h>

#include "base/err.h"

/* Sockets of clients, descriptors of the VMM, and some. */
#define DEVICE_PROFILE_FD_MAX 2048

/*
 * Enter it for good: limits, no look into its memory, no new privileges, the filter. @seccomp:
 * "enforce", "log" or "off". @may_log_to_file: it may make files longer, for who starts it by hand
 * with its log in a file. Errors: BAD_INPUT, of system calls.
 */
ADIT_MUST_CHECK int device_profile_enter(const char *seccomp, bool may_log_to_file,
                                         struct adit_err *err);

#endif
