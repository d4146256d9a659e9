/* SPDX-License-Identifier: Apache-2.0 */
/* What an execution did, gathered from its stream, and the document that tells it. No I/O. */
#ifndef BROKER_SESSION_SESSION_RESULT_H
#define BROKER_SESSION_SESSION_RESULT_H

#include "base/buf.h"
#include "broker/session/session_stream.h"

/* What is kept of one execution; more is counted, and the end of what is kept says so. */
#define SESSION_RESULT_OUTPUT_MAX (8u * 1024 * 1024)
#define SESSION_RESULT_STDERR_MAX (1024u * 1024)
#define SESSION_RESULT_TRACEBACK_MAX (1024u * 1024)
#define SESSION_RESULT_NAME_MAX 4096
/* Of all executions that run at once. */
#define SESSION_RESULT_HELD_MAX (256u * 1024 * 1024)
#define SESSION_RESULT_ARTIFACTS_MAX 64
/* Every byte escaped, and room for the rest. */
#define SESSION_RESULT_DOCUMENT_MAX                                                                \
    (6u * (SESSION_RESULT_OUTPUT_MAX + SESSION_RESULT_STDERR_MAX + SESSION_RESULT_TRACEBACK_MAX) + \
     1024u * 1024)

/* Text with a maximum of its own, and a share of what all may hold. */
struct session_text {
    struct adit_buf kept;
    uint64_t dropped;
};

/* Pictures, decoded as they come. Each begins, gets its bytes, and ends before the next begins.
 * @extension: "png", "jpeg", "svg", "pdf" */
struct session_result_ops {
    void (*on_artifact)(void *user, const char *extension);
    void (*on_artifact_bytes)(void *user, struct adit_view bytes);
    void (*on_artifact_end)(void *user);
};

/*
 * Embedded by its owner.
 *
 * @held:     bytes that all results hold; shared
 * @quad, @quad_len: base64 characters that are not decoded yet
 * @artifact: the member that is being decoded, or ""
 * @has_ended: the stream's last line came
 */
struct session_result {
    const struct session_result_ops *ops;
    void *user;
    size_t *held;
    struct session_stream stream;
    struct session_text output, errors, name, value, traceback;
    bool has_error, has_ended, is_plain;
    size_t artifact_cnt;
    char artifact[SESSION_STREAM_NAME_CAP];
    char quad[4];
    size_t quad_len;
};

void session_result_init(struct session_result *r, const struct session_result_ops *ops, void *user,
                         size_t *held);
void session_result_fini(struct session_result *r);
void session_result_feed(struct session_result *r, struct adit_view bytes);

/*
 * Append the ExecutionResult. @artifacts: URLs, JSON text between the brackets of an array.
 * Errors: LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int session_result_format(const struct session_result *r, uint64_t took_ms,
                                          struct adit_view artifacts, struct adit_buf *out);

#endif
