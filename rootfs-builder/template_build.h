/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of making a template that do not depend on what it is made from. */
#ifndef ROOTFS_BUILDER_TEMPLATE_BUILD_H
#define ROOTFS_BUILDER_TEMPLATE_BUILD_H

#include "rootfs-builder/template_out.h"

/*
 * Where a root comes from.
 * @fill: make <work_dir>/root, a whole tree; may set what @conf says of users and commands. Nothing
 *        else may stay in @work_dir. @source is the caller's.
 * @note: how long it takes, for people: "about a minute"
 */
struct template_source {
    int (*fill)(struct builder_conf *conf, const char *work_dir, void *source,
                struct adit_err *err);
    void *source;
    const char *note;
};

/*
 * Build the template of @conf unless the one in place was made from the same inputs, and put it in
 * place when it is whole. Says on stderr what is done. Errors: those of the source; BAD_INPUT for
 * an alias or directory of users that is none; IO.
 */
ADIT_MUST_CHECK int template_build(struct builder_conf *conf,
                                   const char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1],
                                   const struct template_source *from, struct adit_err *err);

#endif
