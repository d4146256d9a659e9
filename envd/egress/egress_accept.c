/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels that answer dials.
 *
 * Theory of operation
 *
 * What:      gathers the line with the dial's id and hands the stream to the table of dials.
 * Ownership: the list owns a channel until then. Limits: EGRESS_ACCEPT_LINE_MS; the server counts
 * these among its channels.
 * Trust:     the line comes from the host, which says nothing more before it has its answer; if it
 * does, the channel is closed.
 */
#include "envd/egress/egress_accept.h"

#include <stdlib.h>

#include "net/channel.h"

struct accept {
    struct adit_list node;
    struct egress_accepts *set; /* borrowed */
    struct net_stream *stream;
    struct channel_line line;
    struct net_deadline deadline;
};

/* Free, and give the stream away. */
static struct net_stream *forget(struct accept *a)
{
    struct net_stream *stream = a->stream;
    net_deadline_cancel(&a->deadline);
    adit_list_remove(&a->node);
    a->set->cnt--;
    free(a);
    return stream;
}

static void fail(struct accept *a)
{
    net_stream_close(forget(a));
}

static void on_deadline(struct net_deadline *d)
{
    fail(ADIT_CONTAINER_OF(d, struct accept, deadline));
}

static void on_bytes(struct accept *a, struct adit_view bytes, struct adit_view owed)
{
    struct egress_dials *dials = a->set->dials;
    uint64_t id;
    bool is_done;
    if (channel_line_feed(&a->line, &bytes, &is_done, NULL) != ADIT_OK ||
        (is_done && (bytes.len > 0 ||
                     adit_view_u64(channel_line_view(&a->line), UINT32_MAX, &id) != ADIT_OK))) {
        fail(a);
    } else if (is_done) {
        struct net_stream *stream = forget(a);
        if (!egress_dials_channel(dials, (uint32_t)id, stream, owed))
            net_stream_close(stream);
    }
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    on_bytes(net_stream_owner(s), bytes, adit_view_mem(NULL, 0));
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    (void)err; /* nobody is left to be told */
    fail(net_stream_owner(s));
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* nothing is written */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

void egress_accepts_init(struct egress_accepts *set, struct net_loop *l, struct egress_dials *dials)
{
    set->loop = l;
    set->dials = dials;
    set->cnt = 0;
    adit_list_init(&set->waiting);
}

void egress_accepts_close(struct egress_accepts *set)
{
    struct adit_list *it;
    while ((it = adit_list_first(&set->waiting)))
        fail(ADIT_CONTAINER_OF(it, struct accept, node));
}

void egress_accepts_adopt(struct egress_accepts *set, struct net_stream *take_stream,
                          struct adit_view already, struct adit_view owed)
{
    bool is_whole = already.len > 0 && memchr(already.ptr, '\n', already.len);
    struct accept *a = calloc(1, sizeof *a);
    if (!a || (!is_whole && net_stream_write(take_stream, &owed, 1) != ADIT_OK)) {
        free(a);
        net_stream_close(take_stream);
        return;
    }
    a->set = set;
    a->stream = take_stream;
    channel_line_init(&a->line);
    adit_list_push(&set->waiting, &a->node);
    set->cnt++;
    net_deadline_init(&a->deadline, set->loop, on_deadline);
    net_deadline_arm(&a->deadline, EGRESS_ACCEPT_LINE_MS);
    net_stream_set_owner(take_stream, &stream_ops, a);
    net_stream_read_start(take_stream);
    if (already.len > 0)
        on_bytes(a, already, is_whole ? owed : adit_view_mem(NULL, 0));
}
