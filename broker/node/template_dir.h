/* SPDX-License-Identifier: Apache-2.0 */
/* The templates in this host's templates directory. */
#ifndef BROKER_NODE_TEMPLATE_DIR_H
#define BROKER_NODE_TEMPLATE_DIR_H

#include <uv.h>

#include "base/buf.h"
#include "broker/vmm/template.h"

#define TEMPLATE_DIR_MAX 1024
#define TEMPLATE_DIR_NAME_CAP 128

/* @artifact: the folder's name. @dir: its absolute path. @inode, @changed_ns: of template.json as
 * it was read. Valid until the next scan is done. */
struct template_dir_entry {
    struct template_info info;
    uint64_t inode;
    int64_t changed_ns;
    char artifact[TEMPLATE_DIR_NAME_CAP];
    char *dir;
};

struct template_dir;

/* @changed: something is there that was not, or differs. */
typedef void (*template_dir_scanned_fn)(void *user, bool changed);

ADIT_MUST_CHECK int template_dir_new(uv_loop_t *uv, const char *dir, struct template_dir **out,
                                     struct adit_err *err);
/* No scan may run (after the loop has ended). */
void template_dir_free(struct template_dir *t);
/* Read the directory on the thread pool. Return: false (and no callback) when a scan runs. */
bool template_dir_scan(struct template_dir *t, template_dir_scanned_fn on_done, void *user);
/* By id. NULL when there is none. */
const struct template_dir_entry *template_dir_find(const struct template_dir *t,
                                                   const char *template_id);
/* By id, alias or namespace/alias, without a tag. */
const struct template_dir_entry *template_dir_resolve(const struct template_dir *t,
                                                      struct adit_view ref);
/* Is what lies there still what was read? Asks the file system. */
bool template_dir_is_current(const struct template_dir_entry *e);
size_t template_dir_cnt(const struct template_dir *t);
const struct template_dir_entry *template_dir_at(const struct template_dir *t, size_t i);

#endif
