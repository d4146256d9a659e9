/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of POST /files and of what it makes: bytes in, files in place, an answer out. No loop;
 * what may block says so and runs on the thread pool.
 */
#ifndef ENVD_FILESYSTEM_UPLOAD_H
#define ENVD_FILESYSTEM_UPLOAD_H

#include "base/user.h"
#include "envd/envd.h"
#include "envd/filesystem/place.h"

/* Content of complete small files that one request may keep in memory; more goes to disk. */
#define UPLOAD_HELD_MAX (4u * 1024 * 1024)
#define UPLOAD_INFLATE_CAP (256u * 1024)
#define UPLOAD_ANSWER_MAX (8u * 1024 * 1024)

/*
 * @content_type, @content_encoding: header values, empty when absent
 * @path:     of the query; "": none
 * @workdir:  the default one, for relative paths
 */
struct upload_conf {
    const struct user_entry *user;
    const char *workdir;
    const char *path;
    struct adit_view content_type, content_encoding;
    bool fsync;
};

struct upload; /* opaque */

/* Everything in @conf is copied; @take_metadata is emptied. Does not block.
 * Errors: BAD_INPUT, IO (multipart boundary; contract: 500), NO_MEMORY. */
ADIT_MUST_CHECK int upload_new(const struct upload_conf *conf, struct metadata *take_metadata,
                               struct upload **out, struct adit_err *err);
/* The next bytes of the request's body. May block. Errors: BAD_INPUT, NO_SPACE, IO, NO_MEMORY:
 * final. */
ADIT_MUST_CHECK int upload_feed(struct upload *u, struct adit_view bytes, struct adit_err *err);
/* The body is complete: put the files in place, in order, and append the JSON answer. May block. */
ADIT_MUST_CHECK int upload_finish(struct upload *u, struct adit_buf *answer, struct adit_err *err);
/* What was not put in place leaves no trace. May block once bytes were fed. */
void upload_free(struct upload *u);

/* One element of the answer, {"path":…,"name":…,"type":"file"[,"metadata":…]}. */
ADIT_MUST_CHECK int upload_append_entry(const char *path, const struct metadata *metadata,
                                        struct adit_buf *answer);

#endif
