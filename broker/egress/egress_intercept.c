/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on both sides of a connection.
 *
 * Theory of operation
 *
 *   SERVER --it has proved its name--> PROGRAM --its handshake is done--> over
 *     \--no certificate for it, end, _MS--\--end, _MS--> over, with an error
 *
 * What:      the program hears nothing before the server is known to be the one that it asked for,
 * so that it is not shown a good certificate for a bad server. Its ClientHello waits meanwhile, and
 * is the first that the server's side of TLS reads.
 * Ownership: its owner's, as are the streams; it frees itself before it calls back.
 * Limits:    EGRESS_INTERCEPT_MS. The program is not read before the server is known; what it sends
 * behind its ClientHello waits in the kernel.
 * Trust:     both ends are hostile. A server that speaks before it is asked speaks no HTTP/1.
 */
#include "broker/egress/egress_intercept.h"

#include <stdlib.h>

#include "base/buf.h"
#include "broker/egress/egress_domain.h"
#include "broker/egress/egress_peek.h"

enum intercept_state { INTERCEPT_SERVER, INTERCEPT_PROGRAM };

struct egress_intercept {
    enum intercept_state state;
    struct net_stream *guest, *target; /* borrowed */
    struct tls_context *trust;         /* borrowed */
    struct tls_context *leaf;
    struct adit_buf hello;
    struct net_deadline deadline;
    egress_intercept_done_fn done;
    void *owner; /* borrowed */
};

void egress_intercept_cancel(struct egress_intercept *x)
{
    net_deadline_cancel(&x->deadline);
    tls_context_unref(x->leaf);
    adit_buf_fini(&x->hello);
    free(x);
}

static void finish(struct egress_intercept *x, const struct adit_err *err)
{
    egress_intercept_done_fn done = x->done;
    void *owner = x->owner;
    bool is_guest_clear = x->state == INTERCEPT_SERVER;
    egress_intercept_cancel(x);
    done(owner, is_guest_clear, err);
}

static void fail(struct egress_intercept *x, int code, const char *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, code, "%s", why); /* only told */
    finish(x, &err);
}

static void on_deadline(struct net_deadline *d)
{
    fail(ADIT_CONTAINER_OF(d, struct egress_intercept, deadline), ADIT_ERR_TIMEOUT,
         "TLS: no handshake in time");
}

/* ---- either stream ---- */

/* Before its handshake is done a stream delivers nothing, and the program's is another's then. */
static void on_read(struct net_stream *s, struct adit_view bytes)
{
    (void)bytes;
    fail(net_stream_owner(s), ADIT_ERR_PROTOCOL, "TLS: the server speaks first");
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct egress_intercept *x = net_stream_owner(s);
    if (err)
        finish(x, err);
    else
        fail(x, ADIT_ERR_CLOSED, "TLS: an end instead of a handshake");
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* handshakes never congest */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

/* ---- the steps ---- */

static void on_program_up(struct net_stream *s)
{
    struct egress_intercept *x = net_stream_owner(s);
    tls_pass_cuts(x->guest, x->target);
    finish(x, NULL);
}

static void on_server_up(struct net_stream *s)
{
    struct egress_intercept *x = net_stream_owner(s);
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf hello = x->hello;
    adit_buf_init(&x->hello, 0);
    x->state = INTERCEPT_PROGRAM;
    net_deadline_arm(&x->deadline, EGRESS_INTERCEPT_MS);
    net_stream_read_start(x->guest);
    int rc = tls_accept_begun(x->leaf, x->guest, adit_buf_view(&hello), on_program_up, &err);
    adit_buf_fini(&hello);
    if (rc != ADIT_OK)
        finish(x, &err);
}

static int connect_server(struct egress_intercept *x, struct adit_view name, struct adit_err *err)
{
    char host[EGRESS_DOMAIN_MAX + 1];
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    return tls_connect(x->trust, x->target, host, on_server_up, err);
}

static int start(struct egress_intercept *x, const struct egress_intercept_conf *conf,
                 struct adit_err *err)
{
    int rc = adit_buf_append_view(&x->hello, conf->hello);
    if (rc != ADIT_OK)
        return adit_err_set(err, rc, "no room for a ClientHello");
    net_stream_read_stop(x->guest);
    net_stream_set_owner(x->guest, &stream_ops, x);
    net_stream_set_owner(x->target, &stream_ops, x);
    net_deadline_arm(&x->deadline, EGRESS_INTERCEPT_MS);
    net_stream_read_start(x->target);
    return connect_server(x, conf->name, err);
}

int egress_intercept_start(const struct egress_intercept_conf *conf, egress_intercept_done_fn done,
                           void *owner, struct egress_intercept **out, struct adit_err *err)
{
    struct egress_intercept *x = calloc(1, sizeof *x);
    if (!x)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to speak TLS");
    x->guest = conf->guest;
    x->target = conf->target;
    x->trust = conf->trust;
    x->leaf = tls_context_ref(conf->leaf);
    x->done = done;
    x->owner = owner;
    adit_buf_init(&x->hello, EGRESS_PEEK_MAX + NET_SCRATCH_CAP);
    net_deadline_init(&x->deadline, net_stream_loop(conf->guest), on_deadline);
    int rc = start(x, conf, err);
    if (rc == ADIT_OK)
        *out = x;
    else
        egress_intercept_cancel(x);
    return rc;
}
