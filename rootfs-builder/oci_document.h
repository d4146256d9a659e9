/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON documents of an OCI image layout: index, manifest, image configuration. No I/O.
 * Source: OCI Image Format Specification 1.0.
 */
#ifndef ROOTFS_BUILDER_OCI_DOCUMENT_H
#define ROOTFS_BUILDER_OCI_DOCUMENT_H

#include "base/json.h"

/* Of each document; registries take 4 MiB. */
#define OCI_DOCUMENT_CAP (4u * 1024 * 1024)
#define OCI_DOCUMENT_HEX_LEN 64
#define OCI_DOCUMENT_LAYERS_MAX 256
#define OCI_DOCUMENT_ENV_MAX 1024
#define OCI_DOCUMENT_WORDS_MAX 256
/* Of all variables or all words of a command, without JSON's marks. */
#define OCI_DOCUMENT_TEXTS_CAP (16u * 1024)
#define OCI_DOCUMENT_USER_CAP 64
#define OCI_DOCUMENT_DIR_CAP 1024

#if defined(__x86_64__)
#define OCI_DOCUMENT_ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define OCI_DOCUMENT_ARCHITECTURE "arm64"
#endif

/* A blob by its content. @hex: SHA-256, lower case */
struct oci_document_blob {
    char hex[OCI_DOCUMENT_HEX_LEN + 1];
    uint64_t size;
};

struct oci_document_manifest {
    struct oci_document_blob config;
    size_t layer_cnt;
};

/*
 * @user:     as the image says it: name or number, with a group behind a colon; may be empty
 * @dir:      absolute, or empty
 * @env:      object of strings
 * @entrypoint, @cmd: arrays of strings
 * All JSON is owned; see oci_document_config_fini().
 */
struct oci_document_config {
    char user[OCI_DOCUMENT_USER_CAP];
    char dir[OCI_DOCUMENT_DIR_CAP];
    json_t *env, *entrypoint, *cmd;
};

/* The one manifest of index.json. Errors of all three: BAD_INPUT, NO_MEMORY. */
ADIT_MUST_CHECK int oci_document_index(struct adit_view text, struct oci_document_blob *manifest,
                                       struct adit_err *err);
ADIT_MUST_CHECK int oci_document_manifest(struct adit_view text, struct oci_document_manifest *out,
                                          struct adit_err *err);
/* Of an image for this machine with @layer_cnt layers. On failure nothing is owned by @out. */
ADIT_MUST_CHECK int oci_document_config(struct adit_view text, size_t layer_cnt,
                                        struct oci_document_config *out, struct adit_err *err);
void oci_document_config_fini(struct oci_document_config *c);

#endif
