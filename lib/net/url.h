/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets: splitting, percent-decoding, query parameters, path cleaning. No I/O. */
#ifndef ADIT_NET_URL_H
#define ADIT_NET_URL_H

#include "base/buf.h"

#define URL_QUERY_PARAMS_MAX 64

/*
 * A request target in origin form ("/p?q") or absolute form ("http://host/p?q", RFC 9112 3.2.2).
 * @authority is empty for the origin form. "*" gives path "*".
 */
struct url_target {
    struct adit_view authority, path, query; /* still encoded; query without '?' */
};

ADIT_MUST_CHECK int url_split_target(struct adit_view target, struct url_target *out,
                                     struct adit_err *err);

/* Append the decoded text. Errors: BAD_INPUT for a bad escape or an encoded NUL. @plus_is_space:
 * form decoding, as in queries. */
ADIT_MUST_CHECK int url_decode(struct adit_view v, bool plus_is_space, struct adit_buf *out);

/*
 * The decoded value of the first parameter called @name, appended to @out. *found tells "absent"
 * from "empty". Errors: BAD_INPUT (bad escape, NUL, more than URL_QUERY_PARAMS_MAX parameters).
 */
ADIT_MUST_CHECK int url_query_get(struct adit_view query, const char *name, struct adit_buf *out,
                                  bool *found);
/* Iterate raw pairs: start with *rest = query. Return: false at the end. */
bool url_query_next(struct adit_view *rest, struct adit_view *key, struct adit_view *value);

/*
 * Decode and clean a path for *authorization*: percent-decoded once, "//" and "." and ".."
 * resolved, no trailing slash (but "/"). Errors: BAD_INPUT (bad escape, NUL, not beginning with
 * '/').
 */
ADIT_MUST_CHECK int url_clean_path(struct adit_view path, struct adit_buf *out);

/* Host header → name and port: "[::1]:80" (name "::1"), "a.b:80", "a.b". port 0 when absent. A
 * trailing dot is cut. Errors: BAD_INPUT (anything but letters, digits, '-', '_' and single inner
 * dots in a name; non-canonical port; empty). */
ADIT_MUST_CHECK int url_split_host(struct adit_view host, struct adit_view *name, uint16_t *port);

#endif
