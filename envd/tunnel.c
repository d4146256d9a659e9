/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels into the guest's loopback.
 *
 * Theory of operation
 *
 * States:
 *
 *   LINE --"TCP <port>"--> DIALING 127.0.0.1 --refused--> DIALING ::1 --> RELAYING --> closed
 *     \--bad line, 2 s--> closed      \--no answer--> "ERR timeout"   \--refused--> "ERR refused"
 *
 * What:      after "OK" bytes go both ways, untouched, until both sides have ended; a half-close is
 * passed on as one. A reset of either side breaks both.
 * Back-pressure: a congested side stops the reading of the other (NET_STREAM_HIGH/LOW).
 * Ownership: the set owns tunnels, a tunnel its two streams and its dial.
 * Limits:    the server counts tunnels among its channels. TUNNEL_HALF_OPEN_MS of silence after one
 * side ended, since a peer that is gone for good looks the same as one that only ended its sending.
 * Trust:     the line comes from the host, the bytes from both; none are looked at. The host says
 * nothing before it has its answer; if it does, the line was not a tunnel's and the channel is
 * closed.
 */
#include "envd/tunnel.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/dial.h"

enum tunnel_state { TUNNEL_LINE, TUNNEL_DIALING_V4, TUNNEL_DIALING_V6, TUNNEL_RELAYING };

struct tunnel;

/* One side. @has_ended: nothing more will come from it. */
struct tunnel_end {
    struct tunnel *tunnel;
    struct net_stream *stream;
    bool has_ended;
};

/* Owned by its set. @ends: host, guest. */
struct tunnel {
    struct adit_list node;
    struct tunnel_set *set; /* borrowed */
    enum tunnel_state state;
    struct tunnel_end ends[2];
    struct channel_line line;
    struct net_deadline deadline;
    struct dial *dial;
    uint16_t port;
};

static void forget(struct tunnel *t)
{
    net_deadline_cancel(&t->deadline);
    if (t->dial)
        dial_cancel(t->dial);
    adit_list_remove(&t->node);
    t->set->cnt--;
    free(t);
}

static void close_with(struct tunnel *t, void (*close_stream)(struct net_stream *))
{
    for (int i = 0; i < 2; i++)
        if (t->ends[i].stream)
            close_stream(t->ends[i].stream);
    forget(t);
}

static void break_off(struct tunnel *t)
{
    close_with(t, net_stream_reset);
}

static void on_deadline(struct net_deadline *d)
{
    break_off(ADIT_CONTAINER_OF(d, struct tunnel, deadline));
}

/* ---- relaying ---- */

static struct tunnel_end *other_end(struct tunnel_end *e)
{
    return e == &e->tunnel->ends[0] ? &e->tunnel->ends[1] : &e->tunnel->ends[0];
}

static void relay_on_read(struct net_stream *s, struct adit_view bytes)
{
    struct tunnel_end *from = net_stream_owner(s), *to = other_end(from);
    if (net_stream_write(to->stream, &bytes, 1) != ADIT_OK) {
        break_off(from->tunnel);
        return;
    }
    if (net_stream_is_congested(to->stream))
        net_stream_read_stop(s);
    if (net_deadline_is_armed(&from->tunnel->deadline))
        net_deadline_arm(&from->tunnel->deadline, TUNNEL_HALF_OPEN_MS);
}

static void relay_on_drain(struct net_stream *s)
{
    struct tunnel_end *from = other_end(net_stream_owner(s));
    if (!from->has_ended)
        net_stream_read_start(from->stream);
}

static void relay_on_end(struct net_stream *s, const struct adit_err *err)
{
    struct tunnel_end *from = net_stream_owner(s), *to = other_end(from);
    from->has_ended = true;
    if (err) {
        break_off(from->tunnel);
    } else if (to->has_ended) {
        close_with(from->tunnel, net_stream_close_gracefully);
    } else {
        net_stream_shutdown(to->stream);
        net_deadline_arm(&from->tunnel->deadline, TUNNEL_HALF_OPEN_MS);
    }
}

static const struct net_stream_ops relay_ops = {relay_on_read, relay_on_end, relay_on_drain};

static void relay(struct tunnel *t, struct net_stream *take_guest)
{
    static const char ok[] = "OK\n";
    struct adit_view answer = {ok, sizeof(ok) - 1};
    t->state = TUNNEL_RELAYING;
    t->ends[1].stream = take_guest;
    net_deadline_cancel(&t->deadline);
    if (net_stream_write(t->ends[0].stream, &answer, 1) != ADIT_OK) {
        break_off(t);
        return;
    }
    for (int i = 0; i < 2; i++) {
        net_stream_set_owner(t->ends[i].stream, &relay_ops, &t->ends[i]);
        net_stream_read_start(t->ends[i].stream);
    }
}

/* ---- setting up ---- */

static void refuse(struct tunnel *t, const char *reason)
{
    char line[CHANNEL_LINE_CAP];
    int len = snprintf(line, sizeof line, "ERR %s\n", reason);
    struct adit_view answer = {line, (size_t)len};
    if (net_stream_write(t->ends[0].stream, &answer, 1) == ADIT_OK)
        close_with(t, net_stream_close_gracefully);
    else
        break_off(t);
}

static void dial_guest(struct tunnel *t);

static void on_dialed(void *owner, struct net_stream *take_stream, struct adit_view already,
                      const struct adit_err *err)
{
    struct tunnel *t = owner;
    (void)already; /* there is no handshake to have bytes behind it */
    t->dial = NULL;
    if (take_stream) {
        relay(t, take_stream);
    } else if (t->state == TUNNEL_DIALING_V4 && err->code != ADIT_ERR_TIMEOUT) {
        t->state = TUNNEL_DIALING_V6;
        dial_guest(t);
    } else {
        refuse(t, err->code == ADIT_ERR_TIMEOUT ? "timeout" : "refused");
    }
}

static void dial_guest(struct tunnel *t)
{
    struct http_target target = {.kind = HTTP_TARGET_TCP};
    const char *host = t->state == TUNNEL_DIALING_V4 ? "127.0.0.1" : "[::1]";
    struct adit_err err;
    (void)snprintf(target.path, sizeof target.path, "%s:%u", host, (unsigned)t->port); /* fits */
    if (dial_start(t->set->loop, &target, TUNNEL_DIAL_MS, on_dialed, t, &t->dial, &err) != ADIT_OK)
        refuse(t, "resources");
}

static void on_line(struct tunnel *t)
{
    struct adit_err err;
    if (channel_parse_tcp(channel_line_view(&t->line), &t->port, &err) != ADIT_OK) {
        refuse(t, "protocol");
        return;
    }
    net_stream_read_stop(t->ends[0].stream);
    net_deadline_cancel(&t->deadline);
    t->state = TUNNEL_DIALING_V4;
    dial_guest(t);
}

static void on_line_bytes(struct tunnel *t, struct adit_view bytes)
{
    struct adit_err err;
    bool is_done;
    if (channel_line_feed(&t->line, &bytes, &is_done, &err) != ADIT_OK ||
        (is_done && bytes.len > 0))
        break_off(t);
    else if (is_done)
        on_line(t);
}

static void setup_on_read(struct net_stream *s, struct adit_view bytes)
{
    const struct tunnel_end *host = net_stream_owner(s);
    on_line_bytes(host->tunnel, bytes);
}

static void setup_on_end(struct net_stream *s, const struct adit_err *err)
{
    const struct tunnel_end *host = net_stream_owner(s);
    (void)err; /* nobody is left to be told */
    break_off(host->tunnel);
}

static void setup_on_drain(struct net_stream *s)
{
    (void)s; /* one short line is all that is written */
}

static const struct net_stream_ops setup_ops = {setup_on_read, setup_on_end, setup_on_drain};

void tunnel_adopt(struct tunnel_set *s, struct net_stream *take_stream, struct adit_view already)
{
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t) {
        net_stream_close(take_stream);
        return;
    }
    t->set = s;
    t->ends[0] = (struct tunnel_end){t, take_stream, false};
    t->ends[1] = (struct tunnel_end){t, NULL, false};
    channel_line_init(&t->line);
    adit_list_push(&s->tunnels, &t->node);
    s->cnt++;
    net_deadline_init(&t->deadline, s->loop, on_deadline);
    net_deadline_arm(&t->deadline, TUNNEL_LINE_MS);
    net_stream_set_owner(take_stream, &setup_ops, &t->ends[0]);
    net_stream_read_start(take_stream);
    if (already.len > 0)
        on_line_bytes(t, already);
}

void tunnel_set_init(struct tunnel_set *s, struct net_loop *l)
{
    s->loop = l;
    s->cnt = 0;
    adit_list_init(&s->tunnels);
}

void tunnel_set_close(struct tunnel_set *s)
{
    struct adit_list *it;
    while ((it = adit_list_first(&s->tunnels)))
        break_off(ADIT_CONTAINER_OF(it, struct tunnel, node));
}
