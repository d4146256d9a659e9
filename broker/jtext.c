/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded JSON parsing and typed members.
 *
 * Theory of operation
 *
 * What: one place turns bytes of clients (and our own records) into jansson documents and answers
 * typed questions about them, with the contract's error texts.
 * Limits: jansson's parser recurses once per level, so depth is counted before it is called; size
 * is bounded here and again by the edge. Trust: the text is hostile. Member names in error messages
 * are ours, never the client's. Failure: a refused document leaves nothing behind; *out is
 * untouched.
 */
#include "broker/jtext.h"

#include <stdlib.h>

#include "base/json.h"

/* Count nesting outside strings. Whether the text is JSON at all is jansson's question. */
static bool is_too_deep(struct adit_view text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JTEXT_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static bool is_blank(struct adit_view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr(" \t\r\n", text.ptr[i]) || text.ptr[i] == '\0')
            return false;
    return true;
}

static int parse_error(struct adit_err *err, const char *what)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Error when parsing request: %s", what);
}

int jtext_parse(struct adit_view text, json_t **out, struct adit_err *err)
{
    if (text.len > JTEXT_CAP)
        return parse_error(err, "the document is too large");
    if (is_too_deep(text))
        return parse_error(err, "the document is nested too deeply");
    if (is_blank(text)) {
        json_t *empty = json_object();
        if (!empty)
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
        *out = empty;
        return 0;
    }
    json_error_t where;
    json_t *doc = adit_json_load(text, JSON_REJECT_DUPLICATES, &where);
    if (!doc && json_error_code(&where) == json_error_out_of_memory)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    if (!doc)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "Error when parsing request: invalid JSON at line %d column %d",
                            where.line, where.column);
    if (!json_is_object(doc)) {
        json_decref(doc);
        return parse_error(err, "the document is not an object");
    }
    *out = doc;
    return 0;
}

struct sink {
    struct adit_buf *buf;
    int rc;
};

static int sink_add(const char *bytes, size_t len, void *user)
{
    struct sink *s = user;
    s->rc = adit_buf_append(s->buf, bytes, len);
    return s->rc;
}

int jtext_append(struct adit_buf *b, const json_t *doc)
{
    struct sink s = {b, 0};
    if (json_dump_callback(doc, sink_add, &s, JSON_COMPACT) == 0)
        return 0;
    return s.rc ? s.rc : ADIT_ERR_NO_MEMORY;
}

static int type_error(struct adit_err *err, const char *key, const char *must_be)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "validation error: %s must be %s", key, must_be);
}

/* The member, or NULL when absent or null. */
static json_t *member(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

int jtext_string(const json_t *obj, const char *key, const char **out, struct adit_err *err)
{
    const json_t *v = member(obj, key);
    if (!v)
        return 0;
    if (!json_is_string(v))
        return type_error(err, key, "a string");
    *out = json_string_value(v);
    return 0;
}

int jtext_bool(const json_t *obj, const char *key, bool *out, struct adit_err *err)
{
    const json_t *v = member(obj, key);
    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return type_error(err, key, "a boolean");
    *out = json_is_true(v);
    return 0;
}

int jtext_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *out, bool *has,
              struct adit_err *err)
{
    const json_t *v = member(obj, key);
    if (has)
        *has = v != NULL;
    if (!v)
        return 0;
    if (!json_is_integer(v))
        return type_error(err, key, "an integer");
    json_int_t n = json_integer_value(v);
    if (n < min || n > max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "validation error: %s must be between %lld and %lld", key,
                            (long long)min, (long long)max);
    *out = n;
    return 0;
}

int jtext_child(const json_t *obj, const char *key, json_type type, json_t **out,
                struct adit_err *err)
{
    json_t *v = member(obj, key);
    if (!v)
        return 0;
    if (json_typeof(v) != type)
        return type_error(err, key, type == JSON_ARRAY ? "an array" : "an object");
    *out = v;
    return 0;
}

int jtext_string_map(const json_t *obj, const char *key, size_t entries_max, size_t bytes_max,
                     json_t **out, struct adit_err *err)
{
    json_t *map = NULL;
    int rc = jtext_child(obj, key, JSON_OBJECT, &map, err);
    if (rc || !map)
        return rc;
    if (json_object_size(map) > entries_max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "validation error: %s has more than %zu members", key, entries_max);
    size_t bytes = 0;
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        if (!json_is_string(value))
            return type_error(err, key, "an object of strings");
        bytes += strlen(name) + json_string_length(value);
    }
    if (bytes > bytes_max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "validation error: %s holds more than %zu bytes", key, bytes_max);
    *out = map;
    return 0;
}

json_t *jtext_strings(const char *const *items, size_t cnt)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < cnt; i++) {
        if (json_array_append_new(array, json_string(items[i]))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}
