/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to an execution, as it comes: lines of JSON objects, read without making documents of
 * them. No I/O, no memory.
 */
#ifndef BROKER_SESSION_SESSION_STREAM_H
#define BROKER_SESSION_SESSION_STREAM_H

#include "base/view.h"

/* Longest name of a type or member that means anything here, with NUL. */
#define SESSION_STREAM_NAME_CAP 24

/*
 * A line is an object whose first member is "type", and whose members that are strings are told.
 *
 * @on_text: bytes of the string that member @name has, decoded, as they come; any number of times
 * @on_text_end: that string is complete
 * @on_line: a line of that type ended; @is_whole: as an object does
 */
struct session_stream_ops {
    void (*on_text)(void *user, const char *type, const char *name, struct adit_view bytes);
    void (*on_text_end)(void *user, const char *type, const char *name);
    void (*on_line)(void *user, const char *type, bool is_whole);
};

enum session_stream_state {
    SESSION_STREAM_BEGIN,  /* of a line */
    SESSION_STREAM_MEMBER, /* a name, or the end of the object */
    SESSION_STREAM_NAME,
    SESSION_STREAM_COLON,
    SESSION_STREAM_VALUE,
    SESSION_STREAM_STRING,
    SESSION_STREAM_NESTED, /* an object or array */
    SESSION_STREAM_NESTED_STRING,
    SESSION_STREAM_SCALAR, /* a number, true, false, null */
    SESSION_STREAM_AFTER,  /* a member */
    SESSION_STREAM_END,    /* of the object */
    SESSION_STREAM_BROKEN, /* nothing is read until the next line */
};

/*
 * Embedded by its owner, who gives ops and user with session_stream_init().
 *
 * @escape: characters of an escape that have come, of \uXXXX up to 5; 0: none has begun
 * @unit:   of that; @high: the surrogate before it, or 0
 * @type:   of the line; empty before it is known
 */
struct session_stream {
    const struct session_stream_ops *ops;
    void *user;
    enum session_stream_state state;
    size_t depth;
    unsigned escape;
    uint32_t unit, high;
    char type[SESSION_STREAM_NAME_CAP], name[SESSION_STREAM_NAME_CAP];
    size_t type_len, name_len;
    bool has_type, is_type;
};

void session_stream_init(struct session_stream *s, const struct session_stream_ops *ops,
                         void *user);
/* All of @bytes is taken, in time that grows with it. */
void session_stream_feed(struct session_stream *s, struct adit_view bytes);

#endif
