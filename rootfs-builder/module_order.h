/* SPDX-License-Identifier: Apache-2.0 */
/* Which modules of a kernel have to be loaded, and in which order. */
#ifndef ROOTFS_BUILDER_MODULE_ORDER_H
#define ROOTFS_BUILDER_MODULE_ORDER_H

#include "base/view.h"

#define MODULE_ORDER_MAX 128

/* @paths: relative to the folder of modules.dep, whose text they lie in; each module after those
 * that it needs. */
struct module_order {
    struct adit_view paths[MODULE_ORDER_MAX];
    size_t cnt;
};

/*
 * Append the module @name and what it needs. @dep, @builtin: the texts of modules.dep (depmod(8))
 * and modules.builtin. Nothing is appended for what is in already, or built into the kernel.
 * Errors: NOT_FOUND (neither a module nor built in), LIMIT, BAD_INPUT (a path that leads out of the
 * folder, or is none of a module).
 */
ADIT_MUST_CHECK int module_order_add(struct module_order *o, struct adit_view dep,
                                     struct adit_view builtin, const char *name,
                                     struct adit_err *err);
/* The file's name without folders and without what says how it is compressed: "x.ko". */
struct adit_view module_order_file(struct adit_view path);

#endif
