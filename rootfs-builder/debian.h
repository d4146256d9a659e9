/* SPDX-License-Identifier: Apache-2.0 */
/* Debian packages as the source of a template's root. */
#ifndef ROOTFS_BUILDER_DEBIAN_H
#define ROOTFS_BUILDER_DEBIAN_H

#include "rootfs-builder/apt_host.h"
#include "rootfs-builder/builder.h"
#include "rootfs-builder/template_out.h"

/* Digest of everything that a build depends on, in hex. Errors: IO. */
ADIT_MUST_CHECK int debian_fingerprint(const struct builder_conf *conf, const struct apt_host *apt,
                                       char out[TEMPLATE_OUT_FINGERPRINT_LEN + 1],
                                       struct adit_err *err);
/*
 * Unpack and set up the packages in <work_dir>/root. Takes minutes; progress goes to stderr.
 * Errors: PRECONDITION (not root, no mmdebstrap), IO (mmdebstrap failed; it has said why).
 */
ADIT_MUST_CHECK int debian_build(const struct builder_conf *conf, const struct apt_host *apt,
                                 const char *work_dir, struct adit_err *err);
/* `rootfs-builder debian`. */
extern const struct builder_command debian_command;
/* [a-z0-9+.-] words separated by commas; may be empty. */
bool debian_is_package_list(struct adit_view list);

#endif
