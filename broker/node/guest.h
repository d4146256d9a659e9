/* SPDX-License-Identifier: Apache-2.0 */
/* Waking a guest up: POST /init to its envd, GET /health, before anybody may call it. */
#ifndef BROKER_NODE_GUEST_H
#define BROKER_NODE_GUEST_H

#include <jansson.h>

#include "net/http_client.h"

/* One attempt to connect; envd may not have begun to accept yet. */
#define GUEST_DIAL_MS 2000
#define GUEST_RETRY_MS 10
/* Room for variables with every byte escaped; as much as envd takes. */
#define GUEST_BODY_CAP (1024u * 1024)

struct guest;

/* What envd is asked. */
enum guest_talk {
    GUEST_HEALTH_AND_INIT,
    GUEST_INIT, /* its health is known */
};

typedef void (*guest_fn)(void *user, const struct adit_err *err);

/*
 * @target:     the sandbox's channel; the port is envd's
 * @channel:    borrowed, of guest_channel_new(); NULL: one for this talk alone
 * @sandbox_id, @template_id: told to the guest
 * @has_own_kernel: it is given its name and entropy, which a container has of the host
 * @env_vars:   object of strings, or NULL
 * @ca_bundle:  PEM of authorities that its programs are to trust, or NULL
 * @token:      envd's access token, or "" for an open sandbox
 * @token_before: the one it has, when @token takes its place; else NULL
 */
struct guest_conf {
    struct net_loop *loop;
    enum guest_talk talk;
    struct http_target target;
    struct http_pool *channel;
    const char *sandbox_id, *template_id;
    bool has_own_kernel;
    const json_t *env_vars;
    const char *ca_bundle;
    const char *token, *token_before, *default_user, *default_workdir;
    uint64_t deadline_ms;
};

/* A connection to envd that is kept for @idle_ms from one talk to the next; http_pool_close()
 * closes it. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int guest_channel_new(struct net_loop *loop, const struct http_target *target,
                                      uint64_t idle_ms, struct http_pool **out,
                                      struct adit_err *err);
/* Never calls back before it returns. Errors: LIMIT, NO_MEMORY; then no callback comes.
 * Callback errors: TIMEOUT (deadline_ms), UNAVAILABLE with what envd answered. */
ADIT_MUST_CHECK int guest_start(const struct guest_conf *conf, guest_fn on_done, void *user,
                                struct guest **out, struct adit_err *err);
/* No callback follows. */
void guest_cancel(struct guest *g);

#endif
