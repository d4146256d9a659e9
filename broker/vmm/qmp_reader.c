/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading QMP.
 *
 * Theory of operation
 *
 * What:   bytes are gathered to lines, a line is parsed as a whole, and of it only the few words
 * are kept that somebody here acts on. Members that are not known are not looked at.
 * Trust:  the monitor may be the guest's by now. A line has a largest length, a document a largest
 * depth (jtext.h), a text a largest length and no byte that a log or a terminal would obey.
 * Failure: whoever breaks the protocol is not listened to any more; nothing is guessed.
 */
#include "broker/vmm/qmp_reader.h"

#include <string.h>

#include "broker/jtext.h"

void qmp_reader_init(struct qmp_reader *r)
{
    adit_buf_init(&r->line, QMP_READER_LINE_CAP);
}

void qmp_reader_fini(struct qmp_reader *r)
{
    adit_buf_fini(&r->line);
}

/* @json: NULL or no string: nothing is taken. */
static void take_word(const json_t *json, char out[QMP_READER_WORD_CAP])
{
    const char *text = json_string_value(json);
    size_t len = 0;
    for (; text && text[len] && len < QMP_READER_WORD_CAP - 1; len++)
        out[len] = text[len] >= ' ' && text[len] <= '~' ? text[len] : '?';
    out[len] = '\0';
}

static void take_id(const json_t *doc, struct qmp_message *out)
{
    const json_t *id = json_object_get(doc, "id");
    out->id = json_is_integer(id) ? json_integer_value(id) : -1;
}

static void take_event(const json_t *doc, struct qmp_message *out)
{
    const json_t *data = json_object_get(doc, "data");
    out->kind = QMP_READER_EVENT;
    take_word(json_object_get(doc, "event"), out->word);
    take_word(json_object_get(data, "reason"), out->reason);
    if (!out->reason[0])
        take_word(json_object_get(data, "action"), out->reason);
}

static void take_error(const json_t *doc, struct qmp_message *out)
{
    const json_t *error = json_object_get(doc, "error");
    out->kind = QMP_READER_ERROR;
    take_id(doc, out);
    take_word(json_object_get(error, "class"), out->word);
    take_word(json_object_get(error, "desc"), out->reason);
}

static void take_answer(const json_t *doc, struct qmp_message *out)
{
    out->kind = QMP_READER_ANSWER;
    take_id(doc, out);
    take_word(json_object_get(json_object_get(doc, "return"), "status"), out->reason);
}

static int take_document(const json_t *doc, struct qmp_message *out, struct adit_err *err)
{
    memset(out, 0, sizeof(*out));
    out->id = -1;
    if (json_is_string(json_object_get(doc, "event")))
        take_event(doc, out);
    else if (json_is_object(json_object_get(doc, "error")))
        take_error(doc, out);
    else if (json_object_get(doc, "return"))
        take_answer(doc, out);
    else if (json_is_object(json_object_get(doc, "QMP")))
        out->kind = QMP_READER_GREETING;
    else
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the monitor says what is no message");
    return 0;
}

static int take_line(struct adit_view line, struct qmp_message *out, struct adit_err *err)
{
    json_t *doc = NULL;
    int rc = jtext_parse(line, &doc, NULL);
    if (rc == ADIT_ERR_NO_MEMORY)
        return adit_err_set(err, rc, "no memory for a line of the monitor");
    if (rc)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the monitor says what is no JSON object");
    rc = take_document(doc, out, err);
    json_decref(doc);
    return rc;
}

int qmp_reader_feed(struct qmp_reader *r, struct adit_view *in, struct qmp_message *out, bool *has,
                    struct adit_err *err)
{
    struct adit_view piece, rest;
    bool is_end = adit_view_split(*in, '\n', &piece, &rest);
    int rc = adit_buf_append_view(&r->line, is_end ? piece : *in);
    *has = false;
    if (rc)
        return rc == ADIT_ERR_LIMIT
                   ? adit_err_set(err, ADIT_ERR_PROTOCOL, "the monitor's line is too long")
                   : adit_err_set(err, rc, "no memory for a line of the monitor");
    *in = is_end ? rest : adit_view_mem(in->ptr + in->len, 0);
    if (!is_end)
        return 0;
    *has = adit_view_trim(adit_buf_view(&r->line)).len > 0;
    rc = *has ? take_line(adit_buf_view(&r->line), out, err) : 0;
    adit_buf_clear(&r->line);
    return rc;
}
