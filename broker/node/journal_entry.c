/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of sandboxes' logs.
 *
 * Theory of operation
 *
 * What: text goes in cleaned, once: afterwards a line can be shown, searched and put into JSON as
 * it is. Time and level stand before the object, so that a reader picks lines without parsing JSON.
 * Trust: console lines are a guest's. Its JSON is parsed with every bound and only strings, numbers
 * and booleans of the first level are taken; names that clients or we use ourselves are not. It may
 * pretend to be envd: it is its own log that it spoils.
 */
#include "broker/node/journal_entry.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "broker/jtext.h"

#define NS_PER_MS 1000000
#define CUT "…"

static const char level_letters[] = "diwe"; /* as enum adit_log_level counts */
#define LEVEL_CNT (sizeof(level_letters) - 1)

/* ---- cleaning ---- */

static bool is_control(struct adit_view v, size_t len)
{
    unsigned char c = (unsigned char)v.ptr[0];
    return len == 1 ? c < ' ' || c == 0x7f
                    : len == 2 && c == 0xc2 && (unsigned char)v.ptr[1] < 0xa0;
}

/* Append at most @cap bytes of @v: whole characters, and none that a terminal obeys. */
static int append_clean(struct adit_buf *out, struct adit_view v, size_t cap)
{
    static const struct adit_view replacement = ADIT_VIEW("\xef\xbf\xbd");
    size_t before = out->len;
    int rc = 0;
    while (rc == 0 && v.len > 0) {
        size_t len = adit_utf8_char_len(v);
        bool is_bad = len == 0 || is_control(v, len);
        len = len ? len : 1;
        struct adit_view piece = is_bad ? replacement : adit_view_mem(v.ptr, len);
        if (is_bad && v.ptr[0] == '\t')
            piece = (struct adit_view)ADIT_VIEW(" ");
        if (out->len - before + piece.len > cap)
            return adit_buf_append_str(out, CUT);
        rc = adit_buf_append_view(out, piece);
        v = adit_view_mem(v.ptr + len, v.len - len);
    }
    return rc;
}

static json_t *clean_string(struct adit_view v, size_t cap)
{
    struct adit_buf text;
    adit_buf_init(&text, cap + sizeof(CUT));
    int rc = append_clean(&text, v, cap);
    json_t *s = rc ? NULL : json_stringn(adit_buf_view(&text).ptr, text.len);
    if (!rc && !text.len)
        s = json_string("");
    adit_buf_fini(&text);
    return s;
}

/* ---- writing ---- */

static json_t *begin(enum adit_log_level level, const char *logger, struct adit_view message)
{
    json_t *text = clean_string(message, JOURNAL_ENTRY_MESSAGE_CAP);
    return text ? json_pack("{s:s, s:o, s:o}", "level", adit_log_level_name(level), "logger",
                            clean_string(adit_view_str(logger), JOURNAL_ENTRY_KEY_CAP), "message",
                            text)
                : NULL;
}

static int append_line(struct adit_buf *out, int64_t at_ms, enum adit_log_level level, json_t *doc)
{
    struct adit_buf line;
    adit_buf_init(&line, JOURNAL_ENTRY_CAP);
    int rc = doc ? adit_buf_appendf(&line, "%" PRId64 " %c ", at_ms, level_letters[level])
                 : ADIT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = jtext_append(&line, doc);
    if (rc == 0)
        rc = adit_buf_append_char(&line, '\n');
    if (rc == 0)
        rc = adit_buf_append_view(out, adit_buf_view(&line));
    adit_buf_fini(&line);
    json_decref(doc);
    return rc;
}

int journal_entry_append(struct adit_buf *out, int64_t at_ms, enum adit_log_level level,
                         const char *logger, struct adit_view message,
                         const struct journal_field *fields)
{
    json_t *doc = begin(level, logger, message);
    for (; doc && fields && fields->key; fields++) {
        json_t *value = clean_string(adit_view_str(fields->value), JOURNAL_ENTRY_VALUE_CAP);
        if (json_object_set_new(doc, fields->key, value)) {
            json_decref(doc);
            return ADIT_ERR_NO_MEMORY;
        }
    }
    return append_line(out, at_ms, level, doc);
}

/* ---- what the guest says ---- */

static enum adit_log_level level_of(struct adit_view name)
{
    for (size_t i = 0; i < LEVEL_CNT; i++)
        if (adit_view_ieq_str(name, adit_log_level_name((enum adit_log_level)i)))
            return (enum adit_log_level)i;
    if (adit_view_ieq_str(name, "warning"))
        return ADIT_LOG_WARN;
    return adit_view_ieq_str(name, "fatal") ? ADIT_LOG_ERROR : ADIT_LOG_INFO;
}

static bool is_level(struct adit_view name)
{
    for (size_t i = 0; i < LEVEL_CNT; i++)
        if (adit_view_eq_str(name, adit_log_level_name((enum adit_log_level)i)))
            return true;
    return false;
}

static const char *text_of(const json_t *doc, const char *key, const char *other)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text || !other ? text : json_string_value(json_object_get(doc, other));
}

/* Names that are said already, or that would say something about us. */
static bool is_taken(const char *key)
{
    static const char *const names[] = {"level", "logger",    "message", "event",    "program",
                                        "time",  "sandboxID", "teamID",  "timestamp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(key, names[i]) == 0)
            return true;
    return false;
}

/* A value of the first level as a string; *out NULL without memory. Return: false for what is not
 * taken. */
static bool flatten(const json_t *value, json_t **out)
{
    char number[40];
    if (json_is_string(value)) {
        *out = clean_string(adit_view_mem(json_string_value(value), json_string_length(value)),
                            JOURNAL_ENTRY_VALUE_CAP);
        return true;
    }
    if (json_is_integer(value))
        (void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(number, sizeof(number), "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(number, sizeof(number), "%s", json_is_true(value) ? "true" : "false");
    else
        return false;
    *out = json_string(number);
    return true;
}

static int copy_fields(json_t *doc, json_t *said)
{
    const char *key;
    json_t *value, *copy;
    size_t cnt = 0;
    json_object_foreach(said, key, value)
    {
        json_t *clean;
        if (is_taken(key) || cnt == JOURNAL_ENTRY_FIELDS_MAX || !flatten(value, &copy))
            continue;
        clean = clean_string(adit_view_str(key), JOURNAL_ENTRY_KEY_CAP);
        int rc = clean ? json_object_set_new(doc, json_string_value(clean), copy) : -1;
        if (!clean)
            json_decref(copy);
        json_decref(clean);
        if (rc)
            return ADIT_ERR_NO_MEMORY;
        cnt++;
    }
    return 0;
}

/* *done: it was such an object, and was appended or failed. */
static int append_object(struct adit_buf *out, int64_t at_ms, struct adit_view line, bool *done)
{
    json_t *said = NULL;
    *done = line.len > 1 && line.ptr[0] == '{' && jtext_parse(line, &said, NULL) == 0 &&
            text_of(said, "level", NULL) && text_of(said, "event", "message");
    if (!*done) {
        json_decref(said);
        return 0;
    }
    const char *logger = text_of(said, "program", "logger");
    enum adit_log_level level = level_of(adit_view_str(text_of(said, "level", NULL)));
    json_t *doc =
        begin(level, logger ? logger : "console", adit_view_str(text_of(said, "event", "message")));
    int rc = doc ? copy_fields(doc, said) : ADIT_ERR_NO_MEMORY;
    json_decref(said);
    if (rc) {
        json_decref(doc);
        return rc;
    }
    return append_line(out, at_ms, level, doc);
}

/* "2026-11-21T07:08:09.123Z info envd …": *level and *rest. */
static bool is_envd_line(struct adit_view line, enum adit_log_level *level, struct adit_view *rest)
{
    struct adit_view time, name, program;
    int64_t ns;
    if (!adit_view_split(line, ' ', &time, rest) || adit_clock_parse_rfc3339(time, &ns) ||
        !adit_view_split(*rest, ' ', &name, rest) || !is_level(name) ||
        !adit_view_split(*rest, ' ', &program, rest) || !adit_view_eq_str(program, "envd"))
        return false;
    *level = level_of(name);
    return true;
}

int journal_entry_append_console(struct adit_buf *out, int64_t at_ms, struct adit_view line)
{
    enum adit_log_level level = ADIT_LOG_INFO;
    struct adit_view rest;
    bool done;
    int rc = append_object(out, at_ms, line, &done);
    if (done)
        return rc;
    if (is_envd_line(line, &level, &rest))
        return journal_entry_append(out, at_ms, level, "envd", rest, NULL);
    return journal_entry_append(out, at_ms, ADIT_LOG_INFO, "console", line, NULL);
}

/* ---- reading ---- */

static bool parse_line(struct adit_view line, struct journal_entry *out)
{
    struct adit_view time, level;
    uint64_t ms;
    if (!adit_view_split(line, ' ', &time, &line) ||
        adit_view_u64(time, INT64_MAX / NS_PER_MS, &ms) ||
        !adit_view_split(line, ' ', &level, &out->json) || level.len != 1 || level.ptr[0] == '\0')
        return false;
    const char *letter = strchr(level_letters, level.ptr[0]);
    if (!letter || out->json.len < 2 || out->json.ptr[0] != '{')
        return false;
    out->at_ms = (int64_t)ms;
    out->level = (enum adit_log_level)(letter - level_letters);
    return true;
}

bool journal_entry_next(struct adit_view *rest, struct journal_entry *out)
{
    struct adit_view line;
    while (adit_view_split(*rest, '\n', &line, rest))
        if (parse_line(line, out))
            return true;
    return false;
}

int journal_entry_parse(const struct journal_entry *e, json_t **out)
{
    return jtext_parse(e->json, out, NULL);
}

json_t *journal_entry_document(const struct journal_entry *e, json_t *object)
{
    char at[ADIT_CLOCK_RFC3339_CAP];
    json_t *said = json_object_get(object, "message");
    json_t *message = json_is_string(said) ? json_incref(said) : json_string("");
    (void)json_object_del(object, "message"); /* may be missing */
    (void)json_object_del(object, "level");   /* may be missing */
    adit_clock_format_rfc3339(e->at_ms * NS_PER_MS, at);
    return json_pack("{s:s, s:o, s:s, s:O}", "timestamp", at, "message", message, "level",
                     adit_log_level_name(e->level), "fields", object);
}
