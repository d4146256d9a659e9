/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template's folder in the templates directory: <out>/<template id>/{template.json,root/}.
 */
#ifndef ROOTFS_BUILDER_TEMPLATE_OUT_H
#define ROOTFS_BUILDER_TEMPLATE_OUT_H

#include "base/buf.h"
#include "rootfs-builder/builder.h"
#include "rootfs-builder/fingerprint.h"

#define TEMPLATE_OUT_ID_LEN 20
#define TEMPLATE_OUT_FINGERPRINT_LEN FINGERPRINT_LEN
#define TEMPLATE_OUT_JSON_CAP (64u * 1024)

/*
 * One build. @work: the folder's name while it is built, ".build-…"; @fingerprint: of all inputs,
 * hex.
 * @out_fd holds the lock on the directory.
 */
struct template_out {
    int out_fd, lock_fd;
    char template_id[TEMPLATE_OUT_ID_LEN + 1];
    char build_id[37];
    char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1];
    char work[64];
};

/* The id that belongs to an alias, always the same. */
void template_out_id(const char *alias, char id[TEMPLATE_OUT_ID_LEN + 1]);
/* [a-z0-9_-], 1 to 128 characters, one "/" in between allowed. */
bool template_out_is_alias(struct adit_view alias);
/* Append template.json. Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int template_out_write_json(const struct template_out *t,
                                            const struct builder_conf *conf, int64_t wall_ns,
                                            struct adit_buf *out, struct adit_err *err);

/* Make and lock the templates directory; waits for another builder. Leftovers of builders that were
 * killed are removed. @t is of no template yet. Errors: IO, DENIED. */
ADIT_MUST_CHECK int template_out_lock(struct template_out *t, const char *out,
                                      struct adit_err *err);
/* The same for a build. */
ADIT_MUST_CHECK int template_out_open(struct template_out *t, const struct builder_conf *conf,
                                      const char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1],
                                      struct adit_err *err);
void template_out_close(struct template_out *t);
/* Whether the template is there and was built from the same inputs. */
bool template_out_is_current(const struct template_out *t);
/* Make the work folder. */
ADIT_MUST_CHECK int template_out_begin(struct template_out *t, struct adit_err *err);
/*
 * Write template.json into the work folder and put it in the place of the template, at once. The
 * old one is kept aside under *old_name (empty if there was none), because sandboxes may still run
 * from it.
 */
ADIT_MUST_CHECK int template_out_commit(struct template_out *t, const struct builder_conf *conf,
                                        char old_name[64], struct adit_err *err);
/* Remove the work folder. */
void template_out_abandon(struct template_out *t);

#endif
