/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel's side on the host.
 *
 * Theory of operation
 *
 * States:
 *
 *   WAITING --EGRESS_CONTROL_RETRY_MS--> OPENING --channel, our hello--> HELLO --its hello--> OPEN
 *      ^---------------------------------failure, end, wrong frame, EGRESS_CONTROL_HELLO_MS------|
 *
 * What:      frames in, calls of the owner out. A channel that is lost is opened again for as long
 * as the sandbox lives, since only the host opens channels; the waits between attempts grow until
 * one is OPEN.
 * Ownership: the owner owns the object, it its dial and stream.
 * Limits:    of the header. A guest that sends more frames than it may is read later, so that it
 * slows itself and nobody else; what one read brought is handled.
 * Trust:     the guest is hostile: every frame keeps the rules of rpc/control.c or ends the
 * channel, and what it does not read is bounded. Lines about it are limited.
 * Failure:   any ends the channel with on_lost. One that comes up while writing is told at the next
 * turn of the loop, so that no caller is called back.
 */
#include "broker/egress/egress_control.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/log.h"
#include "broker/egress/egress_resolver.h"

#define LOG_BURST 5
#define LOG_PER_S 1
#define MS_PER_S 1000

enum control_state { CONTROL_WAITING, CONTROL_OPENING, CONTROL_HELLO, CONTROL_OPEN };

/*
 * @deadline: in WAITING the next attempt, in HELLO its end, in OPEN when reading goes on
 * @failure:  a write has failed
 * @retry_ms: the wait after the next failure
 * @frames:   that the guest may still send
 */
struct egress_control {
    struct egress_control_conf conf;
    struct http_target target;
    enum control_state state;
    struct dial *dial;
    struct net_stream *stream;
    struct frame_reader reader;
    struct net_deadline deadline;
    struct net_task failure;
    uint64_t retry_ms;
    struct adit_limit frames, log;
};

/* ---- ends ---- */

static void close_channel(struct egress_control *c)
{
    net_deadline_cancel(&c->deadline);
    net_task_cancel(&c->failure);
    frame_reader_fini(&c->reader);
    frame_reader_init(&c->reader, CONTROL_FRAME_MAX);
    if (c->dial)
        dial_cancel(adit_steal(&c->dial));
    if (c->stream)
        net_stream_close(adit_steal(&c->stream));
}

static void log_loss(struct egress_control *c, const struct adit_err *why)
{
    bool is_hostile = why->code == ADIT_ERR_PROTOCOL;
    if (is_hostile)
        egress_count(c->conf.counters, EGRESS_COUNT_RULES_BROKEN);
    if (adit_limit_take(&c->log, adit_clock_mono_ns()))
        adit_log(is_hostile ? ADIT_LOG_WARN : ADIT_LOG_INFO, "egress_channel_lost",
                 LOG_S("sandbox", c->conf.sandbox_id), LOG_ERR(why));
}

static void lose(struct egress_control *c, const struct adit_err *why)
{
    bool was_open = c->state == CONTROL_OPEN;
    log_loss(c, why);
    close_channel(c);
    c->state = CONTROL_WAITING;
    net_deadline_arm(&c->deadline, c->retry_ms);
    c->retry_ms = c->retry_ms < EGRESS_CONTROL_RETRY_MAX_MS / 2 ? c->retry_ms * 2
                                                                : EGRESS_CONTROL_RETRY_MAX_MS;
    if (!was_open)
        return;
    egress_count(c->conf.counters, EGRESS_COUNT_CHANNELS_LOST);
    egress_uncount(c->conf.counters, EGRESS_COUNT_CHANNELS);
    c->conf.ops->on_lost(c->conf.owner);
}

static void lose_because(struct egress_control *c, int code, const char *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, code, "%s", why);
    lose(c, &err);
}

static void on_failure(struct net_task *t)
{
    lose_because(ADIT_CONTAINER_OF(t, struct egress_control, failure), ADIT_ERR_CLOSED,
                 "the guest does not read");
}

/* ---- writing ---- */

static void write_frame(struct egress_control *c, const Control__HostFrame *f)
{
    struct adit_buf bytes;
    adit_buf_init(&bytes, FRAME_HEAD_LEN + CONTROL_FRAME_MAX);
    int rc = control_append_host(&bytes, f);
    struct adit_view view = adit_buf_view(&bytes);
    if (rc == ADIT_OK)
        rc = net_stream_write(c->stream, &view, 1);
    adit_buf_fini(&bytes);
    if (rc != ADIT_OK || net_stream_queued(c->stream) > EGRESS_CONTROL_QUEUE_MAX)
        net_task_post(&c->failure);
}

static void write_hello(struct egress_control *c)
{
    Control__HostHello hello = CONTROL__HOST_HELLO__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    hello.ipv6 = egress_resolver_host_has_ipv6();
    f.body_case = CONTROL__HOST_FRAME__BODY_HELLO;
    f.hello = &hello;
    write_frame(c, &f);
}

void egress_control_refuse(struct egress_control *c, uint32_t id, Control__Reason reason)
{
    Control__Refusal refusal = CONTROL__REFUSAL__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    if (c->state != CONTROL_OPEN)
        return;
    refusal.id = id;
    refusal.reason = reason;
    f.body_case = CONTROL__HOST_FRAME__BODY_REFUSAL;
    f.refusal = &refusal;
    write_frame(c, &f);
}

void egress_control_end(struct egress_control *c, uint32_t id, bool is_reset)
{
    Control__End end = CONTROL__END__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    if (c->state != CONTROL_OPEN)
        return;
    end.id = id;
    end.is_reset = is_reset;
    f.body_case = CONTROL__HOST_FRAME__BODY_END;
    f.end = &end;
    write_frame(c, &f);
}

/* protobuf-c's texts are not const, but only read. */
static char *text_of(struct adit_view text)
{
    union {
        const char *in;
        char *out;
    } same = {text.ptr};
    return same.out;
}

void egress_control_answer(struct egress_control *c, uint32_t id,
                           const struct egress_resolved *resolved)
{
    Control__Answer answers[CONTROL_ANSWERS_MAX], *list[CONTROL_ANSWERS_MAX];
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    if (c->state != CONTROL_OPEN)
        return;
    for (size_t i = 0; i < resolved->answer_cnt; i++) {
        const struct egress_answer *from = &resolved->answers[i];
        control__answer__init(&answers[i]);
        answers[i].name = text_of(from->name);
        answers[i].type = from->type;
        answers[i].ttl = from->ttl;
        answers[i].data = (ProtobufCBinaryData){from->data.len, (uint8_t *)text_of(from->data)};
        list[i] = &answers[i];
    }
    result.id = id;
    result.rcode = resolved->rcode;
    result.negative_ttl = resolved->negative_ttl;
    result.n_answers = resolved->answer_cnt;
    result.answers = list;
    f.body_case = CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT;
    f.lookup_result = &result;
    write_frame(c, &f);
}

/* ---- reading ---- */

static int take_hello(struct egress_control *c, const Control__GuestFrame *f, struct adit_err *err)
{
    if (f->body_case != CONTROL__GUEST_FRAME__BODY_HELLO)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the guest's first frame is no hello");
    net_deadline_cancel(&c->deadline);
    c->state = CONTROL_OPEN;
    c->retry_ms = EGRESS_CONTROL_RETRY_MS;
    egress_count(c->conf.counters, EGRESS_COUNT_CHANNELS_OPENED);
    egress_count(c->conf.counters, EGRESS_COUNT_CHANNELS);
    c->conf.ops->on_open(c->conf.owner, f->hello->mode);
    return ADIT_OK;
}

static int take_frame(struct egress_control *c, const Control__GuestFrame *f, struct adit_err *err)
{
    const struct egress_control_ops *ops = c->conf.ops;
    if (c->state == CONTROL_HELLO)
        return take_hello(c, f, err);
    switch (f->body_case) {
    case CONTROL__GUEST_FRAME__BODY_DIAL:
        return ops->on_dial(c->conf.owner, f->dial, err);
    case CONTROL__GUEST_FRAME__BODY_END:
        ops->on_end(c->conf.owner, f->end->id, f->end->is_reset);
        return ADIT_OK;
    case CONTROL__GUEST_FRAME__BODY_LOOKUP:
        return ops->on_lookup(c->conf.owner, f->lookup, err);
    default:
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the guest says hello again");
    }
}

/* Until what was too much would have been allowed. */
static void pause_reading(struct egress_control *c, uint64_t excess)
{
    if (c->state != CONTROL_OPEN)
        return;
    net_stream_read_stop(c->stream);
    net_deadline_arm(&c->deadline, excess * MS_PER_S / EGRESS_CONTROL_FRAMES_PER_S);
}

static void take_bytes(struct egress_control *c, struct adit_view bytes)
{
    struct adit_err err = ADIT_ERR_INIT;
    Control__GuestFrame *f = NULL;
    uint64_t excess = 0, now = adit_clock_mono_ns();
    int rc;
    do {
        rc = control_read_guest(&c->reader, &bytes, &f, &err);
        if (rc == ADIT_OK && f) {
            excess += !adit_limit_take(&c->frames, now);
            rc = take_frame(c, f, &err);
        }
        if (f)
            control__guest_frame__free_unpacked(f, NULL);
    } while (rc == ADIT_OK && f);
    if (rc != ADIT_OK)
        lose(c, &err);
    else if (excess > 0)
        pause_reading(c, excess);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    take_bytes(net_stream_owner(s), bytes);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct egress_control *c = net_stream_owner(s);
    if (err)
        lose(c, err);
    else
        lose_because(c, ADIT_ERR_CLOSED, "closed by the guest");
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* what is told does not wait for it */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

/* ---- opening ---- */

static void on_dialled(void *owner, struct net_stream *take_stream, struct adit_view already,
                       const struct adit_err *err)
{
    struct egress_control *c = owner;
    c->dial = NULL;
    if (err) {
        lose(c, err);
        return;
    }
    c->state = CONTROL_HELLO;
    c->stream = take_stream;
    net_stream_set_owner(take_stream, &stream_ops, c);
    net_deadline_arm(&c->deadline, EGRESS_CONTROL_HELLO_MS);
    write_hello(c);
    if (already.len > 0)
        take_bytes(c, already);
}

static void open_channel(struct egress_control *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    c->state = CONTROL_OPENING;
    if (dial_start(c->conf.loop, &c->target, EGRESS_CONTROL_OPEN_MS, on_dialled, c, &c->dial,
                   &err) != ADIT_OK)
        lose(c, &err);
}

static void on_deadline(struct net_deadline *d)
{
    struct egress_control *c = ADIT_CONTAINER_OF(d, struct egress_control, deadline);
    if (c->state == CONTROL_WAITING)
        open_channel(c);
    else if (c->state == CONTROL_OPEN)
        net_stream_read_start(c->stream);
    else
        lose_because(c, ADIT_ERR_TIMEOUT, "the guest does not say hello");
}

/* ---- life ---- */

int egress_control_new(const struct egress_control_conf *conf, struct egress_control **out,
                       struct adit_err *err)
{
    uint64_t now = adit_clock_mono_ns();
    struct egress_control *c = calloc(1, sizeof *c);
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "control channel");
    c->conf = *conf;
    c->target = *conf->guest;
    c->target.port = CHANNEL_PORT_CONTROL;
    c->target.tcp_port = 0;
    c->retry_ms = EGRESS_CONTROL_RETRY_MS;
    adit_limit_init(&c->frames, EGRESS_CONTROL_FRAMES_BURST, EGRESS_CONTROL_FRAMES_PER_S, now);
    adit_limit_init(&c->log, LOG_BURST, LOG_PER_S, now);
    frame_reader_init(&c->reader, CONTROL_FRAME_MAX);
    net_deadline_init(&c->deadline, conf->loop, on_deadline);
    net_task_init(&c->failure, conf->loop, on_failure);
    open_channel(c);
    *out = c;
    return ADIT_OK;
}

void egress_control_free(struct egress_control *c)
{
    if (!c)
        return;
    if (c->state == CONTROL_OPEN)
        egress_uncount(c->conf.counters, EGRESS_COUNT_CHANNELS);
    close_channel(c);
    frame_reader_fini(&c->reader);
    free(c);
}
