/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of a sandbox's log: written, and read again. No I/O.
 *
 * On disk: "<unix ms> <d|i|w|e> <JSON object>\n". The object is what clients get as "line": level,
 * logger, message, then whatever else was said, all of them strings.
 */
#ifndef BROKER_NODE_JOURNAL_ENTRY_H
#define BROKER_NODE_JOURNAL_ENTRY_H

#include <jansson.h>

#include "base/buf.h"
#include "base/log.h"

/* What a guest can say in one line: the rest is cut. */
#define JOURNAL_ENTRY_MESSAGE_CAP 2048
#define JOURNAL_ENTRY_FIELDS_MAX 16
#define JOURNAL_ENTRY_KEY_CAP 64
#define JOURNAL_ENTRY_VALUE_CAP 512
/* The whole line with its newline; every byte may have become three, or two and escaped again. */
#define JOURNAL_ENTRY_CAP (48u * 1024)

struct journal_field {
    const char *key; /* a JSON key of ours */
    const char *value;
};

/* A line that was taken apart; views into it. */
struct journal_entry {
    int64_t at_ms;
    enum adit_log_level level;
    struct adit_view json;
};

/* Append a line. @fields ends with a NULL key, or is NULL. Control characters and bytes that are
 * not UTF-8 are replaced by U+FFFD. Errors: LIMIT, NO_MEMORY; nothing is appended then. */
ADIT_MUST_CHECK int journal_entry_append(struct adit_buf *out, int64_t at_ms,
                                         enum adit_log_level level, const char *logger,
                                         struct adit_view message,
                                         const struct journal_field *fields);
/*
 * Append what a guest's first process or console said, one line without its end: a JSON object with
 * "level" and "event" or "message" is taken as that; envd's text lines lose their time and keep
 * their level; anything else is level info. Errors as above.
 */
ADIT_MUST_CHECK int journal_entry_append_console(struct adit_buf *out, int64_t at_ms,
                                                 struct adit_view line);
/* Take the line at the front of @rest, which it shortens. Return: false when nothing whole is left;
 * what is no entry is passed over. */
bool journal_entry_next(struct adit_view *rest, struct journal_entry *out);
/* The object of an entry; a new reference. Errors: BAD_INPUT (a crash damaged it), NO_MEMORY. */
ADIT_MUST_CHECK int journal_entry_parse(const struct journal_entry *e, json_t **out);
/* The answer of the API for an entry: {"timestamp", "message", "level", "fields"}, a new reference;
 * or NULL without memory. @object: its own, changed. */
json_t *journal_entry_document(const struct journal_entry *e, json_t *object);

#endif
