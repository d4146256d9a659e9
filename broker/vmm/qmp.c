/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to a monitor.
 *
 * Theory of operation
 *
 * States: DIALING ──> GREETING ──> AGREEING ── return ──> READY
 *            ^           │            │                     │
 *            └── WAITING <────────────┴─────────────────────┘  closed, broken, silent, too loud
 *
 * What:   the monitor greets, is told that we want no more than that (qmp_capabilities), and then
 * takes commands and tells events. It serves one client at a time: the connection of an earlier
 * broker ends with it, and then ours is taken.
 * Ownership: heap memory, freed by qmp_close() at once. An op may close it: @is_closed is looked at
 * after each (@busy keeps the memory until then).
 * Limits: lines as qmp_reader.h says; QMP_MESSAGES_PER_S; attempts further and further apart.
 * Trust:  nothing the monitor says is believed but what happened to its own machine.
 */
#include "broker/vmm/qmp.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limit.h"
#include "net/dial.h"

/* Of qmp_capabilities; commands count from 0. */
#define AGREE_ID 1000

enum state { WAITING, DIALING, GREETING, AGREEING, READY };

struct qmp {
    struct net_loop *loop; /* borrowed */
    enum state state;
    bool is_busy, is_closed;
    uint64_t retry_ms;
    struct http_target target;
    struct dial *dial;
    struct net_stream *stream;
    struct qmp_reader reader;
    struct adit_limit messages;
    struct net_deadline deadline; /* of a greeting, or before the next attempt */
    const struct qmp_ops *ops;
    void *owner;
};

static void dial(struct qmp *q);

static void drop_connection(struct qmp *q)
{
    if (q->dial)
        dial_cancel(adit_steal(&q->dial));
    if (q->stream)
        net_stream_close(adit_steal(&q->stream));
    qmp_reader_fini(&q->reader);
    qmp_reader_init(&q->reader);
    net_deadline_cancel(&q->deadline);
}

/* The one way back. */
static void try_later(struct qmp *q)
{
    drop_connection(q);
    q->state = WAITING;
    net_deadline_arm(&q->deadline, q->retry_ms);
    q->retry_ms = q->retry_ms * 2 < QMP_RETRY_MAX_MS ? q->retry_ms * 2 : QMP_RETRY_MAX_MS;
}

static void on_due(struct net_deadline *d)
{
    struct qmp *q = ADIT_CONTAINER_OF(d, struct qmp, deadline);
    if (q->state == WAITING)
        dial(q);
    else
        try_later(q); /* it does not speak */
}

/* ---- what is said to it ---- */

static int say(struct qmp *q, const char *command, int id)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "{\"execute\":\"%s\",\"id\":%d}\n", command, id);
    struct adit_view line = {text, (size_t)n};
    return net_stream_write(q->stream, &line, 1);
}

int qmp_send(struct qmp *q, enum qmp_command command, struct adit_err *err)
{
    static const char *const names[] = {"query-status", "quit"};
    if (q->state != READY)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "the monitor is not connected");
    int rc = say(q, names[command], (int)command);
    return rc ? adit_err_set(err, rc, "the monitor takes no command") : 0;
}

/* ---- what it says ---- */

static void become_ready(struct qmp *q)
{
    q->state = READY;
    q->retry_ms = QMP_RETRY_MS;
    net_deadline_cancel(&q->deadline);
    q->ops->on_ready(q->owner);
}

/* Return: false when that was not to be said now. */
static bool take(struct qmp *q, const struct qmp_message *m)
{
    switch (q->state) {
    case GREETING:
        q->state = AGREEING;
        return m->kind == QMP_READER_GREETING && say(q, "qmp_capabilities", AGREE_ID) == 0;
    case AGREEING:
        if (m->kind != QMP_READER_ANSWER || m->id != AGREE_ID)
            return m->kind == QMP_READER_EVENT; /* it is not for us yet */
        become_ready(q);
        return true;
    case READY:
        if (m->kind == QMP_READER_EVENT)
            q->ops->on_event(q->owner, m);
        else if (m->kind != QMP_READER_GREETING && m->id >= 0 && m->id <= QMP_QUIT)
            q->ops->on_answer(q->owner, (enum qmp_command)m->id, m);
        else
            return false;
        return true;
    default:
        return false;
    }
}

/* Return: false when the connection is to be given up. An empty line is work as well, and counts.
 */
static bool read_all(struct qmp *q, struct adit_view bytes)
{
    struct qmp_message m;
    bool has = false;
    while (bytes.len > 0 && !q->is_closed) {
        if (!adit_limit_take(&q->messages, adit_clock_mono_ns()) ||
            qmp_reader_feed(&q->reader, &bytes, &m, &has, NULL) || (has && !take(q, &m)))
            return false;
    }
    return true;
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct qmp *q = net_stream_owner(s);
    q->is_busy = true;
    bool is_good = read_all(q, bytes);
    q->is_busy = false;
    if (q->is_closed)
        qmp_close(q);
    else if (!is_good)
        try_later(q);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    (void)err;
    try_later(net_stream_owner(s));
}

/* ---- connecting ---- */

static void on_dialed(void *owner, struct net_stream *take_stream, struct adit_view already,
                      const struct adit_err *err)
{
    static const struct net_stream_ops ops = {.on_read = on_read, .on_end = on_end};
    struct qmp *q = owner;
    (void)already; /* a plain socket has no handshake that bytes could come behind */
    q->dial = NULL;
    if (err) {
        try_later(q);
        return;
    }
    q->stream = take_stream;
    q->state = GREETING;
    net_stream_set_owner(q->stream, &ops, q);
    net_stream_read_start(q->stream);
    net_deadline_arm(&q->deadline, QMP_DIAL_MS);
}

static void dial(struct qmp *q)
{
    q->state = DIALING;
    if (dial_start(q->loop, &q->target, QMP_DIAL_MS, on_dialed, q, &q->dial, NULL))
        try_later(q);
}

int qmp_open(struct net_loop *loop, const char *path, const struct qmp_ops *ops, void *owner,
             struct qmp **out, struct adit_err *err)
{
    struct qmp *q = calloc(1, sizeof(*q));
    if (!q)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a monitor");
    q->loop = loop;
    q->ops = ops;
    q->owner = owner;
    q->retry_ms = QMP_RETRY_MS;
    q->target.kind = HTTP_TARGET_UNIX;
    (void)snprintf(q->target.path, sizeof(q->target.path), "%s", path); /* else nothing is found */
    qmp_reader_init(&q->reader);
    adit_limit_init(&q->messages, QMP_MESSAGES_BURST, QMP_MESSAGES_PER_S, adit_clock_mono_ns());
    net_deadline_init(&q->deadline, loop, on_due);
    dial(q);
    *out = q;
    return 0;
}

void qmp_close(struct qmp *q)
{
    if (!q)
        return;
    q->is_closed = true;
    if (q->is_busy)
        return; /* on_read() goes on */
    drop_connection(q);
    qmp_reader_fini(&q->reader);
    free(q);
}
