/* SPDX-License-Identifier: Apache-2.0 */
/* One line per event on stderr. */
/*
 * Theory of operation
 *
 * What     Builds a line in a fixed array on the stack and writes it with one write(2).
 * Limits   ADIT_LOG_LINE_CAP and ADIT_LOG_VALUE_CAP count bytes as written, after escaping. A field
 *          that does not fit is left out with all that follow, and "cut" says so.
 * Trust    Values are hostile: controls, quotes and what is not UTF-8 are escaped as in JSON, also
 * in the text form, where a value with anything but plain characters is quoted. Failure  poll(2)
 * asks first whether stderr takes a line, so a reader that sleeps does not stop the caller. What
 * cannot be written is dropped and counted; the next line carries the count. Threads  Settings are
 * written once, at start. The count is atomic; write(2) keeps lines whole.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

static struct {
    const char *program;
    enum adit_log_level level;
    bool json;
} settings = {"adit", ADIT_LOG_INFO, false};

static uint64_t dropped; /* lines since the last one written; accessed atomically */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void adit_log_init(const char *program, enum adit_log_level level, bool json)
{
    settings.program = program;
    settings.level = level;
    settings.json = json;
}

bool adit_log_enabled(enum adit_log_level level)
{
    return level >= settings.level;
}

const char *adit_log_level_name(enum adit_log_level level)
{
    return level_names[level];
}

int adit_log_level_parse(const char *text, enum adit_log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum adit_log_level)i;
            return 0;
        }
    }
    return ADIT_ERR_BAD_INPUT;
}

/* Kept free behind the fields: the mark of a cut line, the closing brace, the line end. */
#define TRAILER_CAP 24

/* @overrun: something did not fit since the last check; nothing partial is kept then. */
struct line {
    char text[ADIT_LOG_LINE_CAP];
    size_t len;
    bool overrun;
};

static void put(struct line *l, const char *p, size_t n)
{
    if (n > sizeof l->text - TRAILER_CAP - l->len) {
        l->overrun = true;
        return;
    }
    memcpy(l->text + l->len, p, n);
    l->len += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

static bool is_plain(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] <= ' ' || v.ptr[i] >= 0x7F || strchr("\"\\=", v.ptr[i]))
            return false;
    }
    return v.len > 0 && v.len <= ADIT_LOG_VALUE_CAP;
}

static void put_quoted(struct line *l, struct adit_view v)
{
    size_t room = ADIT_LOG_VALUE_CAP;
    put_str(l, "\"");
    while (v.len) {
        char out[ADIT_UTF8_JSON_CAP];
        size_t used, n = adit_utf8_json_char(v, out, &used);
        if (n > room) {
            put_str(l, "...");
            break;
        }
        put(l, out, n);
        room -= n;
        v.ptr += used;
        v.len -= used;
    }
    put_str(l, "\"");
}

static void put_text(struct line *l, struct adit_view v)
{
    if (!settings.json && is_plain(v))
        put(l, v.ptr, v.len);
    else
        put_quoted(l, v);
}

static void put_key(struct line *l, const char *key)
{
    put_str(l, settings.json ? ",\"" : " ");
    put_str(l, key);
    put_str(l, settings.json ? "\":" : "=");
}

/* Return: false when the field did not fit; the line is as before then. */
static bool put_field(struct line *l, const struct adit_log_field *f)
{
    size_t len_before = l->len;
    char number[24];

    put_key(l, f->key);
    if (f->kind == 's') {
        put_text(l, f->text);
    } else {
        (void)(f->kind == 'd' ? snprintf(number, sizeof number, "%" PRId64, (int64_t)f->number)
                              : snprintf(number, sizeof number, "%" PRIu64, f->number));
        put_str(l, number);
    }
    if (l->overrun)
        l->len = len_before;
    return !l->overrun;
}

static void put_head(struct line *l, enum adit_log_level level, const char *event)
{
    char now[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_ms(adit_clock_wall_ns(), now);
    const char *const parts[] = {now, level_names[level], settings.program, event};
    static const char *const json_before[] = {"{\"timestamp\":\"", "\",\"level\":\"",
                                              "\",\"logger\":\"", "\",\"message\":\""};

    for (size_t i = 0; i < 4; i++) {
        put_str(l, settings.json ? json_before[i] : i ? " " : "");
        put_str(l, parts[i]);
    }
    if (settings.json)
        put_str(l, "\"");
}

static void put_tail(struct line *l, bool cut)
{
    const char *end = settings.json ? (cut ? ",\"cut\":true}\n" : "}\n") : cut ? " cut=1\n" : "\n";
    size_t n = strlen(end); /* TRAILER_CAP is kept for it */
    memcpy(l->text + l->len, end, n);
    l->len += n;
}

static bool write_line(const struct line *l)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
        return false;
    ssize_t n;
    do {
        n = write(STDERR_FILENO, l->text, l->len);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

void adit_log_fields(enum adit_log_level level, const char *event,
                     const struct adit_log_field *fields)
{
    int saved_errno = errno;
    struct line l;
    uint64_t lost = __atomic_exchange_n(&dropped, 0, __ATOMIC_RELAXED);
    bool whole = true;

    l.len = 0;
    l.overrun = false;
    put_head(&l, level, event);
    if (lost)
        whole = put_field(&l, &LOG_U("dropped", lost));
    for (; whole && fields->kind; fields++)
        whole = put_field(&l, fields);
    put_tail(&l, !whole);
    if (!write_line(&l))
        (void)__atomic_add_fetch(&dropped, lost + 1, __ATOMIC_RELAXED);
    errno = saved_errno;
}
