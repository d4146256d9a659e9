/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper, the launcher and its workers may do. */
#ifndef BROKER_LAUNCHER_LAUNCHER_PROFILE_H
#define BROKER_LAUNCHER_LAUNCHER_PROFILE_H

#include "base/err.h"

/*
 * Give up, for good, what making containers does not take. What is forked or executed afterwards
 * inherits it. For a process with one thread that has opened what it needs. Errors: IO, DENIED.
 */
ADIT_MUST_CHECK int launcher_profile_enter(struct adit_err *err);

#endif
