/* SPDX-License-Identifier: Apache-2.0 */
/* A line of log for each request, when it is over. */
/*
 * Theory of operation
 *
 * What      request_log_open() notes what is asked, request_log_over() writes that with what became
 *           of it. The note hangs on the exchange between the two. Questions that machines ask all
 *           the time (health, metrics) are lines of the level debug.
 * Limits    One line a request, REQUEST_LOG_PATH_MAX of its path, at most REQUEST_LOG_PER_S lines a
 *           second over time: a client cannot fill what keeps the log.
 * Trust     Everything in a head is hostile. The query is never looked at (signatures), nor is any
 *           header but the two named here; of Authorization only the user's name, as envd knows no
 *           password. base/log.c escapes what is written.
 */
#include "envd/request_log.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "envd/envd.h"

#define METHOD_CAP 16
#define FIELDS_CAP 12

struct note {
    uint64_t start_ns;
    enum adit_log_level level;
    char method[METHOD_CAP], id[REQUEST_LOG_ID_MAX + 1], path[REQUEST_LOG_PATH_MAX + 1];
    char user[USER_NAME_CAP];
};

void request_log_init(struct request_log *log)
{
    *log = (struct request_log){.dropped = 0};
    adit_limit_init(&log->limit, REQUEST_LOG_BURST, REQUEST_LOG_PER_S, adit_clock_mono_ns());
}

/* Copy the beginning of @text. */
static void keep(char *out, size_t cap, struct adit_view text)
{
    size_t len = text.len < cap ? text.len : cap - 1;
    memcpy(out, text.len ? text.ptr : "", len);
    out[len] = '\0';
}

static bool is_id(struct adit_view text)
{
    if (text.len > REQUEST_LOG_ID_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], lower = (char)(c | 0x20);
        if ((lower < 'a' || lower > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' &&
            c != '-')
            return false;
    }
    return true;
}

static bool is_asked_all_the_time(const struct http_head *head, struct adit_view path)
{
    return head->method == HTTP_GET &&
           (adit_view_eq_str(path, "/health") || adit_view_eq_str(path, "/metrics"));
}

void request_log_open(struct http_exchange *x, const struct http_head *head, struct adit_view path)
{
    struct adit_view id = http_head_get(head, REQUEST_LOG_ID_HEADER);
    struct adit_err err;
    enum adit_log_level level = is_asked_all_the_time(head, path) ? ADIT_LOG_DEBUG : ADIT_LOG_INFO;
    struct note *n = adit_log_enabled(level) ? malloc(sizeof *n) : NULL;
    if (!n)
        return;
    n->start_ns = adit_clock_mono_ns();
    n->level = level;
    keep(n->method, sizeof n->method, head->method_text);
    keep(n->path, sizeof n->path, path);
    keep(n->id, sizeof n->id, is_id(id) ? id : adit_view_mem(NULL, 0));
    if (envd_basic_user(head, n->user, &err) != ADIT_OK)
        n->user[0] = '\0'; /* the handler says so */
    http_exchange_set_note(x, n);
}

static void write_line(struct request_log *log, const struct note *n, struct http_outcome outcome)
{
    struct adit_log_field fields[FIELDS_CAP] = {{0}};
    size_t cnt = 0;
    if (n->id[0])
        fields[cnt++] = LOG_S("request_id", n->id);
    fields[cnt++] = LOG_S("method", n->method);
    fields[cnt++] = LOG_S("path", n->path);
    fields[cnt++] = LOG_U("status", outcome.status);
    if (outcome.verdict)
        fields[cnt++] = LOG_S("code", outcome.verdict);
    fields[cnt++] = LOG_U("ms", (adit_clock_mono_ns() - n->start_ns) / 1000000);
    fields[cnt++] = LOG_U("bytes", outcome.sent_len);
    if (n->user[0])
        fields[cnt++] = LOG_S("user", n->user);
    if (!outcome.is_whole)
        fields[cnt++] = LOG_U("broken", 1);
    if (log->dropped)
        fields[cnt++] = LOG_U("requests_dropped", log->dropped);
    log->dropped = 0;
    adit_log_fields(n->level, "request", fields);
}

void request_log_over(struct http_exchange *x)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    struct note *n = http_exchange_note(x);
    if (!n)
        return;
    if (adit_limit_take(&e->request_log.limit, adit_clock_mono_ns()))
        write_line(&e->request_log, n, http_exchange_outcome(x));
    else
        e->request_log.dropped++;
    free(n);
}
