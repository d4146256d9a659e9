/* SPDX-License-Identifier: Apache-2.0 */
/* What a user calls an image: a name in a registry, or a place on this machine. No I/O. */
#ifndef ROOTFS_BUILDER_OCI_REFERENCE_H
#define ROOTFS_BUILDER_OCI_REFERENCE_H

#include "base/view.h"

#define OCI_REFERENCE_CAP 1024
/* Where a cell shows the file or directory of a local image. */
#define OCI_REFERENCE_PLACE "/source"

/*
 * @transport: as skopeo names it: "docker", "oci", "oci-archive", "docker-archive"
 * @path:      file or directory of a local image; empty for one in a registry
 * @name:      which image: behind the path with its ":", or the name in the registry
 */
struct oci_reference {
    char transport[16];
    char path[OCI_REFERENCE_CAP];
    char name[OCI_REFERENCE_CAP];
};

/*
 * docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME]; what begins
 * with "/" or "." is the directory of a layout, everything else a name as docker takes it.
 * Errors: BAD_INPUT.
 */
ADIT_MUST_CHECK int oci_reference_parse(struct adit_view text, struct oci_reference *out,
                                        struct adit_err *err);
static inline bool oci_reference_is_local(const struct oci_reference *r)
{
    return r->path[0] != '\0';
}
/* What skopeo is told in a cell, where a local image is at OCI_REFERENCE_PLACE. */
void oci_reference_source(const struct oci_reference *r, char out[OCI_REFERENCE_CAP + 32]);

#endif
