/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of inputs.
 *
 * Theory of operation
 *
 * What:    each input is written with its name and length before it; the digest is of the whole.
 */
#include "rootfs-builder/fingerprint.h"

#include <fcntl.h>

#include "base/encode.h"
#include "base/file.h"

int fingerprint_add(struct adit_buf *inputs, const char *name, struct adit_view value)
{
    int rc = adit_buf_appendf(inputs, "%s %zu\n", name, value.len);
    return rc ? rc : adit_buf_append_view(inputs, value);
}

int fingerprint_add_file(struct adit_buf *inputs, const char *name, const char *path,
                         struct adit_err *err)
{
    int rc = fingerprint_add(inputs, name, adit_view_str(path));
    if (rc)
        return adit_err_set(err, rc, "%s does not fit", path);
    return adit_file_read(AT_FDCWD, path, inputs, err);
}

void fingerprint_make(const struct adit_buf *inputs, char out[FINGERPRINT_LEN + 1])
{
    uint8_t digest[ADIT_SHA256_LEN];
    adit_sha256(adit_buf_view(inputs), digest);
    adit_hex_encode(digest, sizeof(digest), out);
}
