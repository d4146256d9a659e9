/* SPDX-License-Identifier: Apache-2.0 */
/* From a reference to the root file system of an image: skopeo fetches, umoci unpacks. */
#ifndef ROOTFS_BUILDER_OCI_IMAGE_H
#define ROOTFS_BUILDER_OCI_IMAGE_H

#include "base/buf.h"
#include "rootfs-builder/builder.h"
#include "rootfs-builder/oci_document.h"
#include "rootfs-builder/oci_reference.h"

/* As template.json has it, with its NUL. */
#define OCI_IMAGE_USER_CAP 33

/*
 * Append what tells this image from every other one: the manifest, which names all of its content,
 * or an archive's digest. Errors: as below.
 */
ADIT_MUST_CHECK int oci_image_identify(const struct builder_conf *conf,
                                       const struct oci_reference *ref, struct adit_buf *inputs,
                                       struct adit_err *err);
/*
 * Copy the image for this machine into <work_dir>/oci and read its configuration.
 * Errors: BAD_INPUT, LIMIT, TIMEOUT, PRECONDITION (not root, no skopeo), IO (skopeo's words).
 */
ADIT_MUST_CHECK int oci_image_copy(const struct builder_conf *conf, const struct oci_reference *ref,
                                   const char *work_dir, struct oci_document_config *out,
                                   struct adit_err *err);
/*
 * Unpack what is in <work_dir>/oci into <work_dir>/root; there @dir is a directory then, unless it
 * is "". @wanted: a user's name or number, maybe with a group; @user: the name that it has there.
 * Errors: as above; BAD_INPUT for a root that is refused.
 */
ADIT_MUST_CHECK int oci_image_unpack(const struct builder_conf *conf, const char *work_dir,
                                     const char *dir, const char *wanted,
                                     char user[OCI_IMAGE_USER_CAP], struct adit_err *err);

/* Remove <work_dir>/oci. Errors: IO. */
ADIT_MUST_CHECK int oci_image_drop(const char *work_dir, struct adit_err *err);
/* `rootfs-builder oci`. */
extern const struct builder_command oci_command;

/* Who @wanted is by the image's own file, as a step of the above. @passwd: content of the image's
 * file, or empty. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int oci_image_user(struct adit_view passwd, struct adit_view wanted,
                                   char user[OCI_IMAGE_USER_CAP], struct adit_err *err);

#endif
