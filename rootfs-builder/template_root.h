/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps in the root of a template, wherever it comes from. */
#ifndef ROOTFS_BUILDER_TEMPLATE_ROOT_H
#define ROOTFS_BUILDER_TEMPLATE_ROOT_H

#include "rootfs-builder/template_out.h"

/* Check <work_dir>/root, empty its /dev and mark it as @t's. Errors: BAD_INPUT for a root that
 * runtimes must not be given, IO. */
ADIT_MUST_CHECK int template_root_finish(const struct template_out *t, const char *work_dir,
                                         struct adit_err *err);

#endif
