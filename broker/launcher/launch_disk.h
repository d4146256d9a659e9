/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of disk images.
 */
#ifndef BROKER_LAUNCHER_LAUNCH_DISK_H
#define BROKER_LAUNCHER_LAUNCH_DISK_H

#include "base/err.h"

/*
 * Make @name in the directory @dir_fd a copy of the image @from_fd: sharing its blocks where the
 * file system can, else what holds data only, so that holes stay holes. *out, opened for reading
 * and writing, belongs to the caller; the file is root's alone. Errors: EXISTS, NO_SPACE, IO.
 */
ADIT_MUST_CHECK int launch_disk_copy(int from_fd, int dir_fd, const char *name, int *out,
                                     struct adit_err *err);

#endif
