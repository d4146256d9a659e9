/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session API's bytes from outside: the first byte chooses a client's request, the stream of an
 * execution, or events of a directory. Oracles: a refusal has a message; what is taken is a cell
 * that is JSON, an id or a path that is taken again as it is; a stream tells the same wherever it
 * is cut, keeps no more than it was given, and its document is JSON.
 */
#include "base/json.h"
#include "broker/jtext.h"
#include "broker/session/session_request.h"
#include "broker/session/session_result.h"
#include "broker/session/session_watch.h"
#include "oracle.h"

/* ---- requests ---- */

typedef int (*cell_fn)(struct adit_view body, struct adit_buf *cell, struct adit_err *err);

static void check_cell(cell_fn make, struct adit_view body)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf cell;
    json_t *doc;
    adit_buf_init(&cell, SESSION_REQUEST_CELL_MAX);
    if (make(body, &cell, &err)) {
        ORACLE(err.msg[0] != '\0');
    } else {
        doc = json_loadb(cell.data + cell.off, cell.len, 0, NULL);
        ORACLE(json_is_string(json_object_get(doc, "code")) && json_object_size(doc) == 1);
        json_decref(doc);
    }
    adit_buf_fini(&cell);
}

static void check_id(struct adit_view segment)
{
    char id[RECORD_SESSION_CAP], again[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    if (session_request_id(segment, id, &err)) {
        ORACLE(err.msg[0] != '\0');
        return;
    }
    ORACLE(session_request_id(adit_view_str(id), again, &err) == 0 && strcmp(id, again) == 0);
}

static void check_path(struct adit_view query)
{
    char path[SESSION_REQUEST_PATH_MAX + 1], again[SESSION_REQUEST_PATH_MAX + 1];
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf escaped;
    if (session_request_path(query, NULL, path, &err)) {
        ORACLE(err.msg[0] != '\0');
        return;
    }
    ORACLE(path[0] == '/');
    adit_buf_init(&escaped, 4 * sizeof(path));
    ORACLE(adit_buf_append_str(&escaped, "path=") == 0);
    ORACLE(session_request_append_escaped(&escaped, adit_view_str(path)) == 0);
    ORACLE(session_request_path(adit_buf_view(&escaped), NULL, again, &err) == 0);
    ORACLE(strcmp(path, again) == 0);
    adit_buf_fini(&escaped);
}

static void check_request(struct adit_view in)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view name;
    bool is_custom;
    check_cell(session_request_execute, in);
    check_cell(session_request_install, in);
    check_id(in);
    check_path(in);
    if (session_request_start(in, "custom", &is_custom, &err))
        ORACLE(err.msg[0] != '\0');
    if (session_request_file_name(in, &name, &err) == 0)
        ORACLE(name.len > 0 && !memchr(name.ptr, '/', name.len));
}

/* ---- streams ---- */

struct told {
    struct adit_buf text;
    size_t picture_len;
    bool is_open;
};

static void on_artifact(void *user, const char *extension)
{
    struct told *t = user;
    ORACLE(!t->is_open);
    t->is_open = true;
    ORACLE(adit_buf_appendf(&t->text, "<%s>", extension) == 0);
}

static void on_artifact_bytes(void *user, struct adit_view bytes)
{
    struct told *t = user;
    ORACLE(t->is_open && bytes.len > 0);
    t->picture_len += bytes.len;
    ORACLE(adit_buf_append_view(&t->text, bytes) == 0);
}

static void on_artifact_end(void *user)
{
    struct told *t = user;
    ORACLE(t->is_open);
    t->is_open = false;
    ORACLE(adit_buf_append_str(&t->text, ";") == 0);
}

static const struct session_result_ops ops = {on_artifact, on_artifact_bytes, on_artifact_end};

/* All that a stream says, fed in pieces of @step after a first one of @cut. */
static void tell(struct adit_view in, size_t cut, size_t step, struct told *t)
{
    struct session_result r;
    size_t held = 0, len = in.len;
    *t = (struct told){.is_open = false};
    adit_buf_init(&t->text, SESSION_RESULT_DOCUMENT_MAX);
    session_result_init(&r, &ops, t, &held);
    for (size_t n = cut; in.len > 0; n = step) {
        n = n == 0 ? 1 : n > in.len ? in.len : n;
        session_result_feed(&r, adit_view_mem(in.ptr, n));
        in.ptr += n;
        in.len -= n;
    }
    /* an escape of six bytes is a character of three at most, and a broken one the same */
    ORACLE(held <= 3 * len && t->picture_len <= 3 * len);
    ORACLE(session_result_format(&r, 1, adit_view_mem(NULL, 0), &t->text) == 0);
    session_result_fini(&r);
    ORACLE(held == 0);
}

static void check_stream(struct adit_view in)
{
    static const size_t steps[][2] = {{1, 1}, {3, 7}, {2, SIZE_MAX}};
    struct told whole, cut;
    tell(in, SIZE_MAX, SIZE_MAX, &whole);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        tell(in, i == 2 ? in.len / 2 : steps[i][0], steps[i][1], &cut);
        ORACLE(adit_view_eq(adit_buf_view(&whole.text), adit_buf_view(&cut.text)));
        adit_buf_fini(&cut.text);
    }
    adit_buf_fini(&whole.text);
}

/* ---- events of the working directory ---- */

static void check_events(struct adit_view in)
{
    struct session_watch_files files;
    json_t *answer = adit_json_load(in, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(answer)) {
        session_watch_read(&files, answer);
        ORACLE(files.cnt <= SESSION_WATCH_FILES_MAX);
        for (size_t i = 0; i < files.cnt; i++)
            ORACLE(files.names[i][0] != '.' && !strchr(files.names[i], '/'));
    }
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if (data[0] == 's')
        check_stream(adit_view_mem(data + 1, len - 1));
    else if (data[0] == 'w')
        check_events(adit_view_mem(data + 1, len - 1));
    else
        check_request(adit_view_mem(data + 1, len - 1));
    return 0;
}
