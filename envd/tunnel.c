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
 * What:      after "OK" the two streams are joined (net/join.h).
 * Ownership: the set owns tunnels, a tunnel its stream and its dial, or the join of both streams.
 * Limits:    the server counts tunnels among its channels.
 * Trust:     the line comes from the host, the bytes from both; none are looked at. The host says
 * nothing before it has its answer; if it does, the line was not a tunnel's and the channel is
 * closed.
 */
#include "envd/tunnel.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "net/dial.h"
#include "net/join.h"

enum tunnel_state { TUNNEL_LINE, TUNNEL_DIALING_V4, TUNNEL_DIALING_V6, TUNNEL_RELAYING };

/* Owned by its set. @host: until @join has it. */
struct tunnel {
    struct adit_list node;
    struct tunnel_set *set; /* borrowed */
    enum tunnel_state state;
    struct net_stream *host;
    struct channel_line line;
    struct net_deadline deadline;
    struct dial *dial;
    struct join *join;
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

static void break_off(struct tunnel *t)
{
    if (t->join)
        join_break(t->join);
    else if (t->host)
        net_stream_reset(t->host);
    forget(t);
}

static void on_deadline(struct net_deadline *d)
{
    break_off(ADIT_CONTAINER_OF(d, struct tunnel, deadline));
}

/* ---- relaying ---- */

static void on_over(void *owner, bool is_broken)
{
    (void)is_broken; /* both sides know */
    forget(owner);
}

static const struct join_ops relay_ops = {.on_over = on_over};

static void relay(struct tunnel *t, struct net_stream *take_guest)
{
    static const char ok[] = "OK\n";
    struct adit_view answer = {ok, sizeof(ok) - 1};
    t->state = TUNNEL_RELAYING;
    net_deadline_cancel(&t->deadline);
    if (net_stream_write(t->host, &answer, 1) != ADIT_OK) {
        net_stream_reset(take_guest);
        break_off(t);
        return;
    }
    if (join_start(adit_steal(&t->host), take_guest, &relay_ops, t, &t->join) != ADIT_OK)
        forget(t);
}

/* ---- setting up ---- */

static void refuse(struct tunnel *t, const char *reason)
{
    char line[CHANNEL_LINE_CAP];
    int len = snprintf(line, sizeof line, "ERR %s\n", reason);
    struct adit_view answer = {line, (size_t)len};
    if (net_stream_write(t->host, &answer, 1) == ADIT_OK)
        net_stream_close_gracefully(adit_steal(&t->host));
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
    net_stream_read_stop(t->host);
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
    on_line_bytes(net_stream_owner(s), bytes);
}

static void setup_on_end(struct net_stream *s, const struct adit_err *err)
{
    (void)err; /* nobody is left to be told */
    break_off(net_stream_owner(s));
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
    t->host = take_stream;
    channel_line_init(&t->line);
    adit_list_push(&s->tunnels, &t->node);
    s->cnt++;
    net_deadline_init(&t->deadline, s->loop, on_deadline);
    net_deadline_arm(&t->deadline, TUNNEL_LINE_MS);
    net_stream_set_owner(take_stream, &setup_ops, t);
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
