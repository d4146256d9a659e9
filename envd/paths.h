/* SPDX-License-Identifier: Apache-2.0 */
/* The path rules of every RPC and of /files (docs/wire/files.md), without I/O and without state. */
#ifndef ENVD_PATHS_H
#define ENVD_PATHS_H

#include "base/buf.h"

/* Whose rules apply. All borrowed. */
struct paths_base {
    const char *user, *home, *workdir; /* workdir "": none */
};

/*
 * "" → the workdir if there is one; "~" and "~/…" → home and the rest, cleaned; absolute → as it
 * is; relative → joined to the home and cleaned. Appends an absolute path to @out (unless home is
 * none). Errors: BAD_INPUT (NUL, another user's home, longer than ENVD_PATH_CAP), NO_MEMORY.
 */
ADIT_MUST_CHECK int paths_resolve(const struct paths_base *base, struct adit_view path,
                                  struct adit_buf *out, struct adit_err *err);

/* Append @path with "//", "." and ".." resolved by text alone, no trailing slash (but "/"). */
ADIT_MUST_CHECK int paths_clean(struct adit_view path, struct adit_buf *out);

/* The last component, trailing slashes left out: "/a/b/" → "b"; "/" → "/"; "" → ".". */
struct adit_view paths_base_name(struct adit_view path);
/* What is before the last component, without trailing slashes: "/a/b/" → "/a"; "/a" → "/"; "a" →
 * ".". */
struct adit_view paths_dir_name(struct adit_view path);

#endif
