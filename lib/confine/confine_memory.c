/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of our own processes is nobody's to read.
 *
 * Theory of operation
 *
 * What: no core file and no look from outside. It stands apart from confine.c because small static
 * programs need it without the rest.
 */
#include "confine/confine.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int confine_hide_memory(struct adit_err *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, CONFINE_IS_SANITIZED, 0, 0, 0))
        return adit_err_sys(err, errno, "hide the memory");
    return 0;
}
