/* SPDX-License-Identifier: Apache-2.0 */
/* Which version of crun is installed, and whether it is one for untrusted code. */
#ifndef BROKER_LAUNCHER_RUNTIME_VERSION_H
#define BROKER_LAUNCHER_RUNTIME_VERSION_H

#include "base/view.h"

/* First version of crun with the fixes that untrusted code requires; see docs/isolation.md. */
#define RUNTIME_VERSION_CRUN_SAFE "1.28"
#define RUNTIME_VERSION_CAP 32

/*
 * @output:  what "crun --version" printed
 * @version: what it says, or "unknown"
 * Return: whether that is at least RUNTIME_VERSION_CRUN_SAFE.
 */
bool runtime_version_is_safe(struct adit_view output, char version[RUNTIME_VERSION_CAP]);
/* Ask @runtime for its version and log a warning when it is a crun that is not safe. Blocks for
 * some milliseconds; for the start of the program. */
void runtime_version_check(const char *runtime);

#endif
