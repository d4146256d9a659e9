/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending everything that is left in a state directory.
 *
 * Theory of operation
 *
 * A node without an edge and without a scheduler takes the sandboxes up as a new broker would, and
 * ends them all by the usual states; the loop runs until none is left. The scheduler learns of it
 * when its broker registers the next time.
 */
#include "broker/purge.h"

#include <stdio.h>

#include "broker/host.h"
#include "broker/node/node.h"

static int publish(void *owner, const struct edge_route *route, struct adit_err *err)
{
    (void)owner;
    (void)route;
    (void)err; /* there is no edge: nothing to tell */
    return 0;
}

static int withdraw(void *owner, const char *sandbox_id, void (*done)(void *user), void *user,
                    struct adit_err *err)
{
    (void)owner;
    (void)sandbox_id;
    (void)err; /* as above */
    done(user);
    return 0;
}

static int no_scheduler(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "no scheduler is asked");
}

static int confirm(void *owner, const char *sandbox_id, node_done_fn done, void *user,
                   struct adit_err *err)
{
    (void)owner;
    (void)sandbox_id;
    (void)done;
    (void)user;
    return no_scheduler(err);
}

static int release(void *owner, const char *sandbox_id, const char *reason, node_done_fn done,
                   void *user, struct adit_err *err)
{
    (void)owner;
    (void)sandbox_id;
    (void)reason;
    (void)done;
    (void)user;
    return no_scheduler(err);
}

/* What is being ended reaches nothing any more. */
static int open_egress(void *owner, const struct record *r, const json_t *network, bool is_offline,
                       struct egress_sandbox **out, struct adit_err *err)
{
    (void)owner;
    (void)r;
    (void)network;
    (void)is_offline;
    (void)err;
    *out = NULL;
    return 0;
}

static const struct node_ops ops = {.publish = publish,
                                    .withdraw = withdraw,
                                    .confirm = confirm,
                                    .release = release,
                                    .open_egress = open_egress};

static void on_exited(void *owner, const char *sandbox_id, const char *reason)
{
    (void)owner;
    (void)sandbox_id;
    (void)reason; /* all are being ended */
}

struct purge {
    uv_loop_t uv;
    struct net_loop net;
    struct host host;
    struct node *node;
    struct tokens tokens; /* none are needed */
    struct net_deadline deadline;
    bool is_late;
};

static void on_deadline(struct net_deadline *d)
{
    ADIT_CONTAINER_OF(d, struct purge, deadline)->is_late = true;
}

static int open_node(struct purge *p, const struct broker_conf *c, struct adit_err *err)
{
    struct node_conf conf = {
        .loop = &p->net,
        .boot_id = p->host.boot_id,
        .log_retention_ms = c->sandbox_log_retention_ms,
        .log_bytes_max = c->sandbox_log_bytes,
        .state_dir = c->state_dir,
        .vmms = &p->host.vmms,
        .tokens = &p->tokens,
        .ops = &ops,
        .owner = p,
    };
    return node_new(&conf, &p->node, err);
}

static int end_all(struct purge *p, struct adit_err *err)
{
    uint64_t left;
    node_adopt(p->node);
    (void)fprintf(stderr, "ending %llu sandboxes\n",
                  (unsigned long long)node_admission(p->node)->sandbox_cnt);
    node_end_all(p->node, "purged");
    net_deadline_init(&p->deadline, &p->net, on_deadline);
    net_deadline_arm(&p->deadline, PURGE_WAIT_MS);
    while ((left = node_admission(p->node)->sandbox_cnt) > 0 && !p->is_late)
        (void)uv_run(&p->uv, UV_RUN_ONCE);
    net_deadline_cancel(&p->deadline);
    if (left > 0)
        return adit_err_set(err, ADIT_ERR_TIMEOUT, "%llu sandboxes could not be ended",
                            (unsigned long long)left);
    return 0;
}

int purge_main(struct broker_conf *conf, struct adit_err *err)
{
    static struct purge p; /* large, and zeroed */
    int rc = host_prepare(&p.host, conf, err);
    if (rc == 0)
        rc = host_confine(&p.host, conf, err);
    if (rc)
        return rc;
    if (uv_loop_init(&p.uv))
        return adit_err_set(err, ADIT_ERR_IO, "no event loop");
    if ((rc = net_loop_init(&p.net, &p.uv, err)) ||
        (rc = host_open(&p.host, &p.net, conf, on_exited, NULL, &p, err)) ||
        (rc = open_node(&p, conf, err)))
        return rc; /* the process ends: what is open goes with it */
    rc = end_all(&p, err);
    node_stop(p.node);
    host_close(&p.host);
    net_loop_close(&p.net);
    (void)uv_run(&p.uv, UV_RUN_DEFAULT); /* until all is closed */
    node_free(p.node);
    (void)uv_loop_close(&p.uv);
    return rc;
}
