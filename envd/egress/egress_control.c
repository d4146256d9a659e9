/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel's side in the guest.
 *
 * Theory of operation
 *
 * States:    CLOSED --adopt--> HELLO --the host's hello--> OPEN --end, wrong frame--> CLOSED
 *                                 \--EGRESS_CONTROL_HELLO_MS, wrong frame--> CLOSED
 *
 * What:      frames in, calls of the owner out. envd's hello is the first that it writes. In HELLO
 * nothing else is written, so what is asked then is asked when on_open tells.
 * Ownership: the owner owns the object, it its stream.
 * Limits:    EGRESS_CONTROL_QUEUE_MAX. A frame is 16 KiB at most (rpc/control.h).
 * Trust:     the host's frames are checked as if they were hostile; an id that nobody knows is the
 * owner's to ignore.
 * Failure:   any ends the channel with on_lost. One that comes up while writing is told at the next
 * turn of the loop, so that no caller is called back.
 */
#include "envd/egress/egress_control.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"

enum control_state { CONTROL_CLOSED, CONTROL_HELLO, CONTROL_OPEN };

/* @failure: a write has failed. */
struct egress_control {
    struct net_loop *loop; /* borrowed */
    enum egress_mode mode;
    const char *version;
    const struct egress_control_ops *ops;
    void *owner; /* borrowed */
    enum control_state state;
    struct net_stream *stream;
    struct frame_reader reader;
    struct net_deadline deadline;
    struct net_task failure;
};

static void close_stream(struct egress_control *c)
{
    net_deadline_cancel(&c->deadline);
    net_task_cancel(&c->failure);
    frame_reader_fini(&c->reader);
    frame_reader_init(&c->reader, CONTROL_FRAME_MAX);
    c->state = CONTROL_CLOSED;
    if (c->stream)
        net_stream_close(adit_steal(&c->stream));
}

static void lose(struct egress_control *c, const struct adit_err *why)
{
    bool was_open = c->state == CONTROL_OPEN;
    close_stream(c);
    adit_log(ADIT_LOG_DEBUG, "control_channel_lost", LOG_S("error", why ? why->msg : "closed"));
    if (was_open)
        c->ops->on_lost(c->owner);
}

static void on_deadline(struct net_deadline *d)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the host does not say hello");
    lose(ADIT_CONTAINER_OF(d, struct egress_control, deadline), &err);
}

static void on_failure(struct net_task *t)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the host does not read");
    lose(ADIT_CONTAINER_OF(t, struct egress_control, failure), &err);
}

/* ---- writing ---- */

static void write_frame(struct egress_control *c, const Control__GuestFrame *f)
{
    struct adit_buf bytes;
    adit_buf_init(&bytes, FRAME_HEAD_LEN + CONTROL_FRAME_MAX);
    int rc = control_append_guest(&bytes, f);
    struct adit_view view = adit_buf_view(&bytes);
    if (rc == ADIT_OK)
        rc = net_stream_write(c->stream, &view, 1);
    adit_buf_fini(&bytes);
    if (rc != ADIT_OK || net_stream_queued(c->stream) > EGRESS_CONTROL_QUEUE_MAX)
        net_task_post(&c->failure);
}

/* protobuf-c's texts are not const, but only read. */
static char *text_of(const char *text)
{
    union {
        const char *in;
        char *out;
    } same = {text};
    return same.out;
}

static void write_hello(struct egress_control *c)
{
    static const Control__Mode modes[] = {
        [EGRESS_TRANSPARENT] = CONTROL__MODE__MODE_TRANSPARENT,
        [EGRESS_REDIRECT] = CONTROL__MODE__MODE_REDIRECT,
        [EGRESS_PROXY] = CONTROL__MODE__MODE_PROXY,
        [EGRESS_NONE] = CONTROL__MODE__MODE_NONE,
    };
    Control__GuestHello hello;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    control__guest_hello__init(&hello);
    hello.mode = modes[c->mode];
    hello.version = text_of(c->version);
    f.body_case = CONTROL__GUEST_FRAME__BODY_HELLO;
    f.hello = &hello;
    write_frame(c, &f);
}

void egress_control_dial(struct egress_control *c, uint32_t id, const struct egress_address *to)
{
    Control__Dial dial;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    uint8_t address[EGRESS_IPV6_LEN];
    if (c->state != CONTROL_OPEN)
        return;
    memcpy(address, to->bytes, to->len);
    control__dial__init(&dial);
    dial.id = id;
    dial.address = (ProtobufCBinaryData){to->len, address};
    dial.port = to->port;
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &dial;
    write_frame(c, &f);
}

void egress_control_end(struct egress_control *c, uint32_t id, bool is_reset)
{
    Control__End end = CONTROL__END__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    if (c->state != CONTROL_OPEN)
        return;
    end.id = id;
    end.is_reset = is_reset;
    f.body_case = CONTROL__GUEST_FRAME__BODY_END;
    f.end = &end;
    write_frame(c, &f);
}

void egress_control_lookup(struct egress_control *c, uint32_t id, const char *name, uint16_t type)
{
    Control__Lookup lookup;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    if (c->state != CONTROL_OPEN)
        return;
    control__lookup__init(&lookup);
    lookup.id = id;
    lookup.name = text_of(name);
    lookup.type = type;
    f.body_case = CONTROL__GUEST_FRAME__BODY_LOOKUP;
    f.lookup = &lookup;
    write_frame(c, &f);
}

/* ---- reading ---- */

static int take_hello(struct egress_control *c, const Control__HostFrame *f, struct adit_err *err)
{
    if (f->body_case != CONTROL__HOST_FRAME__BODY_HELLO)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the host's first frame is no hello");
    net_deadline_cancel(&c->deadline);
    c->state = CONTROL_OPEN;
    c->ops->on_open(c->owner, f->hello->ipv6);
    return ADIT_OK;
}

static int take_frame(struct egress_control *c, const Control__HostFrame *f, struct adit_err *err)
{
    if (c->state == CONTROL_HELLO)
        return take_hello(c, f, err);
    switch (f->body_case) {
    case CONTROL__HOST_FRAME__BODY_REFUSAL:
        c->ops->on_refusal(c->owner, f->refusal->id, f->refusal->reason);
        return ADIT_OK;
    case CONTROL__HOST_FRAME__BODY_END:
        c->ops->on_end(c->owner, f->end->id, f->end->is_reset);
        return ADIT_OK;
    case CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT:
        c->ops->on_lookup(c->owner, f->lookup_result);
        return ADIT_OK;
    default:
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the host says hello again");
    }
}

static void take_bytes(struct egress_control *c, struct adit_view bytes)
{
    struct adit_err err = ADIT_ERR_INIT;
    Control__HostFrame *f = NULL;
    int rc;
    do {
        rc = control_read_host(&c->reader, &bytes, &f, &err);
        if (rc == ADIT_OK && f)
            rc = take_frame(c, f, &err);
        if (f)
            control__host_frame__free_unpacked(f, NULL);
    } while (rc == ADIT_OK && f);
    if (rc != ADIT_OK)
        lose(c, &err);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    take_bytes(net_stream_owner(s), bytes);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    lose(net_stream_owner(s), err);
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* what is asked does not wait for it */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

/* ---- life ---- */

int egress_control_new(struct net_loop *l, const char *version,
                       const struct egress_control_ops *ops, void *owner,
                       struct egress_control **out, struct adit_err *err)
{
    struct egress_control *c = calloc(1, sizeof *c);
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "control channel");
    c->loop = l;
    c->mode = EGRESS_NONE;
    c->version = version;
    c->ops = ops;
    c->owner = owner;
    frame_reader_init(&c->reader, CONTROL_FRAME_MAX);
    net_deadline_init(&c->deadline, l, on_deadline);
    net_task_init(&c->failure, l, on_failure);
    *out = c;
    return ADIT_OK;
}

void egress_control_set_mode(struct egress_control *c, enum egress_mode mode)
{
    c->mode = mode;
}

void egress_control_free(struct egress_control *c)
{
    close_stream(c);
    frame_reader_fini(&c->reader);
    free(c);
}

void egress_control_adopt(struct egress_control *c, struct net_stream *take_stream,
                          struct adit_view already)
{
    if (c->stream)
        lose(c, NULL);
    c->state = CONTROL_HELLO;
    c->stream = take_stream;
    net_stream_set_owner(take_stream, &stream_ops, c);
    net_deadline_arm(&c->deadline, EGRESS_CONTROL_HELLO_MS);
    net_stream_read_start(take_stream);
    write_hello(c);
    if (already.len > 0)
        take_bytes(c, already);
}

bool egress_control_is_open(const struct egress_control *c)
{
    return c->state == CONTROL_OPEN;
}
