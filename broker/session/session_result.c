/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an execution did.
 *
 * Theory of operation
 *
 * What: stdout, stderr and the exception are kept as text; of results the pictures go on, decoded,
 * to whoever keeps them. The exception is told by its traceback, in which its name and value
 * stand; where there is none, by these.
 * Limits: each text has its maximum, all results together SESSION_RESULT_HELD_MAX, so what
 * sandboxes print never fills the broker; what is not kept is counted and told. Trust: the stream
 * is the sandbox's.
 */
#include "broker/session/session_result.h"

#include "base/encode.h"

#define QUADS_AT_ONCE 1024

/* ---- texts ---- */

static void text_init(struct session_text *t, size_t max)
{
    adit_buf_init(&t->kept, max);
    t->dropped = 0;
}

static void text_fini(struct session_text *t, size_t *held)
{
    *held -= t->kept.len;
    adit_buf_fini(&t->kept);
}

/* What does not fit is dropped, and all that follows it. */
static void text_add(struct session_text *t, size_t *held, struct adit_view bytes)
{
    size_t room = t->kept.max - t->kept.len;
    size_t shared = SESSION_RESULT_HELD_MAX - *held;
    if (room > shared)
        room = shared;
    size_t n = t->dropped ? 0 : bytes.len < room ? bytes.len : room;
    if (adit_buf_append(&t->kept, bytes.ptr, n))
        n = 0;
    *held += n;
    t->dropped += bytes.len - n;
}

static struct adit_view text_view(const struct session_text *t)
{
    return adit_buf_view(&t->kept);
}

/* ---- pictures ---- */

static const struct picture {
    const char *member;
    bool is_plain; /* else base64 */
} pictures[] = {{"png", false}, {"jpeg", false}, {"svg", true}, {"pdf", false}};

static const struct picture *find_picture(const char *member)
{
    for (size_t i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++)
        if (strcmp(pictures[i].member, member) == 0)
            return &pictures[i];
    return NULL;
}

static void give_bytes(struct session_result *r, struct adit_view bytes)
{
    if (bytes.len > 0)
        r->ops->on_artifact_bytes(r->user, bytes);
}

static bool decode_run(struct session_result *r, struct adit_view quads)
{
    char bytes[QUADS_AT_ONCE * 3 + 3];
    size_t len = 0;
    if (adit_base64_decode(quads, bytes, &len))
        return false;
    give_bytes(r, adit_view_mem(bytes, len));
    return true;
}

/* Groups that are none are left out, one by one: what becomes of the others does not depend on how
 * they came. */
static void decode(struct session_result *r, struct adit_view quads)
{
    if (quads.len == 0 || decode_run(r, quads))
        return;
    for (size_t at = 0; at < quads.len; at += 4)
        (void)decode_run(r, adit_view_mem(quads.ptr + at, quads.len - at < 4 ? quads.len - at : 4));
}

/* Whole groups of four as they lie there; what is left waits for its rest. White space, which some
 * encoders put in, makes a group of its own of what is around it. */
static void take_base64(struct session_result *r, struct adit_view in)
{
    char group[QUADS_AT_ONCE * 4];
    size_t len = r->quad_len;
    memcpy(group, r->quad, len);
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '\n' || in.ptr[i] == '\r' || in.ptr[i] == ' ')
            continue;
        group[len++] = in.ptr[i];
        if (len == sizeof(group)) {
            decode(r, adit_view_mem(group, len));
            len = 0;
        }
    }
    r->quad_len = len % 4;
    memcpy(r->quad, group + len - r->quad_len, r->quad_len);
    decode(r, adit_view_mem(group, len - r->quad_len));
}

static void begin_picture(struct session_result *r, const struct picture *p)
{
    if (r->artifact_cnt == SESSION_RESULT_ARTIFACTS_MAX)
        return;
    r->artifact_cnt++;
    memcpy(r->artifact, p->member, strlen(p->member) + 1);
    r->is_plain = p->is_plain;
    r->quad_len = 0;
    r->ops->on_artifact(r->user, p->member);
}

static void end_picture(struct session_result *r)
{
    if (!r->artifact[0])
        return;
    decode(r, adit_view_mem(r->quad, r->quad_len));
    r->quad_len = 0;
    r->artifact[0] = '\0';
    r->ops->on_artifact_end(r->user);
}

static void take_result(struct session_result *r, const char *member, struct adit_view bytes)
{
    const struct picture *p = find_picture(member);
    if (p && !r->artifact[0])
        begin_picture(r, p);
    if (!p || !r->artifact[0])
        return;
    if (r->is_plain)
        give_bytes(r, bytes);
    else
        take_base64(r, bytes);
}

/* ---- the stream ---- */

static struct session_text *find_text(struct session_result *r, const char *type, const char *name)
{
    if (strcmp(type, "stdout") == 0 && strcmp(name, "text") == 0)
        return &r->output;
    if (strcmp(type, "stderr") == 0 && strcmp(name, "text") == 0)
        return &r->errors;
    if (strcmp(type, "error") != 0 || r->has_error) /* the first one counts */
        return NULL;
    if (strcmp(name, "name") == 0)
        return &r->name;
    if (strcmp(name, "value") == 0)
        return &r->value;
    return strcmp(name, "traceback") == 0 ? &r->traceback : NULL;
}

static void on_text(void *user, const char *type, const char *name, struct adit_view bytes)
{
    struct session_result *r = user;
    if (strcmp(type, "result") == 0) {
        take_result(r, name, bytes);
        return;
    }
    struct session_text *text = find_text(r, type, name);
    if (text)
        text_add(text, r->held, bytes);
}

static void on_text_end(void *user, const char *type, const char *name)
{
    (void)type;
    (void)name; /* only results have pictures, one at a time */
    end_picture(user);
}

static void on_line(void *user, const char *type, bool is_whole)
{
    struct session_result *r = user;
    end_picture(r); /* of a line that broke off */
    if (strcmp(type, "error") == 0)
        r->has_error = true;
    else if (strcmp(type, "end_of_execution") == 0)
        r->has_ended = is_whole;
}

static const struct session_stream_ops stream_ops = {on_text, on_text_end, on_line};

void session_result_init(struct session_result *r, const struct session_result_ops *ops, void *user,
                         size_t *held)
{
    memset(r, 0, sizeof(*r));
    r->ops = ops;
    r->user = user;
    r->held = held;
    session_stream_init(&r->stream, &stream_ops, r);
    text_init(&r->output, SESSION_RESULT_OUTPUT_MAX);
    text_init(&r->errors, SESSION_RESULT_STDERR_MAX);
    text_init(&r->name, SESSION_RESULT_NAME_MAX);
    text_init(&r->value, SESSION_RESULT_TRACEBACK_MAX);
    text_init(&r->traceback, SESSION_RESULT_TRACEBACK_MAX);
}

void session_result_fini(struct session_result *r)
{
    text_fini(&r->output, r->held);
    text_fini(&r->errors, r->held);
    text_fini(&r->name, r->held);
    text_fini(&r->value, r->held);
    text_fini(&r->traceback, r->held);
}

void session_result_feed(struct session_result *r, struct adit_view bytes)
{
    session_stream_feed(&r->stream, bytes);
}

/* ---- the document ---- */

static int append_text(struct adit_buf *out, const struct session_text *t)
{
    int rc = adit_buf_append_json_text(out, text_view(t));
    if (rc == 0 && t->dropped)
        rc = adit_buf_appendf(out, "\\n[%llu bytes more were not kept]\\n",
                              (unsigned long long)t->dropped);
    return rc;
}

static int append_exception(const struct session_result *r, struct adit_buf *out)
{
    if (r->traceback.kept.len > 0)
        return append_text(out, &r->traceback);
    int rc = append_text(out, &r->name);
    if (rc == 0)
        rc = adit_buf_append_str(out, ": ");
    return rc ? rc : append_text(out, &r->value);
}

/* A string with what went wrong, or null. */
static int append_error(const struct session_result *r, struct adit_buf *out)
{
    bool has_stderr = r->errors.kept.len > 0 || r->errors.dropped > 0;
    if (!r->has_error && !has_stderr)
        return adit_buf_append_str(out, "null");
    int rc = adit_buf_append_char(out, '"');
    if (rc == 0)
        rc = r->has_error ? append_exception(r, out) : append_text(out, &r->errors);
    return rc ? rc : adit_buf_append_char(out, '"');
}

int session_result_format(const struct session_result *r, uint64_t took_ms,
                          struct adit_view artifacts, struct adit_buf *out)
{
    int rc =
        adit_buf_appendf(out, "{\"success\":%s,\"output\":\"", r->has_error ? "false" : "true");
    if (rc == 0)
        rc = append_text(out, &r->output);
    if (rc == 0)
        rc = adit_buf_append_str(out, "\",\"error\":");
    if (rc == 0)
        rc = append_error(r, out);
    if (rc == 0)
        rc = adit_buf_appendf(out, ",\"execution_time_ms\":%llu,\"artifacts\":[",
                              (unsigned long long)took_ms);
    if (rc == 0)
        rc = adit_buf_append_view(out, artifacts);
    return rc ? rc : adit_buf_append_str(out, "]}");
}
