/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image says of itself. The first byte chooses the document: index, manifest, configuration
 * (with as many layers as the byte says), passwd with a user's name before it, reference.
 * Oracles: refusals are BAD_INPUT; digests are 64 digits; texts end within their bounds, names have
 * no "="; a directory is absolute; a user is a word that the broker takes; a reference names a
 * place or a registry, not both.
 */
#include "oracle.h"

#include <string.h>

#include "rootfs-builder/oci_image.h"

static void check_blob(const struct oci_document_blob *b)
{
    ORACLE(strlen(b->hex) == OCI_DOCUMENT_HEX_LEN);
    ORACLE(strspn(b->hex, "0123456789abcdef") == OCI_DOCUMENT_HEX_LEN);
}

static void try_index(struct adit_view text, struct adit_err *err)
{
    struct oci_document_blob blob;
    if (oci_document_index(text, &blob, err) == 0)
        check_blob(&blob);
}

static void try_manifest(struct adit_view text, struct adit_err *err)
{
    struct oci_document_manifest m;
    if (oci_document_manifest(text, &m, err))
        return;
    check_blob(&m.config);
    ORACLE(m.layer_cnt <= OCI_DOCUMENT_LAYERS_MAX);
}

static size_t words_len(const json_t *list)
{
    size_t i, len = 0;
    json_t *word;
    json_array_foreach(list, i, word)
    {
        ORACLE(json_is_string(word));
        len += json_string_length(word);
    }
    return len;
}

static void try_config(struct adit_view text, size_t layer_cnt, struct adit_err *err)
{
    struct oci_document_config c;
    const char *name;
    json_t *value;
    if (oci_document_config(text, layer_cnt, &c, err)) {
        ORACLE(!c.env && !c.entrypoint && !c.cmd);
        return;
    }
    ORACLE(strlen(c.user) < OCI_DOCUMENT_USER_CAP && strlen(c.dir) < OCI_DOCUMENT_DIR_CAP);
    ORACLE(!c.dir[0] || c.dir[0] == '/');
    ORACLE(json_object_size(c.env) <= OCI_DOCUMENT_ENV_MAX);
    json_object_foreach(c.env, name, value)
    {
        ORACLE(name[0] && !strchr(name, '=') && json_is_string(value));
    }
    ORACLE(words_len(c.entrypoint) <= OCI_DOCUMENT_TEXTS_CAP);
    ORACLE(words_len(c.cmd) <= OCI_DOCUMENT_TEXTS_CAP);
    oci_document_config_fini(&c);
}

static void try_user(struct adit_view text, struct adit_err *err)
{
    struct adit_view wanted, passwd;
    char user[OCI_IMAGE_USER_CAP];
    (void)adit_view_split(text, '\n', &wanted, &passwd);
    if (oci_image_user(passwd, wanted, user, err))
        return;
    ORACLE(user[0] && user[0] != '-' && strlen(user) < OCI_IMAGE_USER_CAP);
    ORACLE(!strpbrk(user, " :/\t\"\\"));
}

static void try_reference(struct adit_view text, struct adit_err *err)
{
    struct oci_reference r;
    char source[OCI_REFERENCE_CAP + 32];
    if (oci_reference_parse(text, &r, err))
        return;
    oci_reference_source(&r, source);
    ORACLE(strncmp(source, r.transport, strlen(r.transport)) == 0);
    ORACLE(oci_reference_is_local(&r) != (strcmp(r.transport, "docker") == 0));
    ORACLE(!strchr(r.path, ':') && !strpbrk(source, "\n\r\x7f"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (size == 0)
        return 0;
    struct adit_view text = adit_view_mem(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        try_index(text, &err);
        break;
    case 1:
        try_manifest(text, &err);
        break;
    case 2:
        try_config(text, data[0] / 5 % 4, &err);
        break;
    case 3:
        try_user(text, &err);
        break;
    default:
        try_reference(text, &err);
    }
    ORACLE(err.code == 0 || err.code == ADIT_ERR_BAD_INPUT);
    return 0;
}
