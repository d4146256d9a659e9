/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug mode: listeners whose every request is for one port of one sandbox.
 *
 * Theory of operation
 *
 * Clients in debug mode create nothing and call http://localhost:49983 and :49999. Host and routing
 * headers say nothing there (newer clients send "debug_sandbox_id"), so the listener alone decides.
 * Which sandbox it is arrives by message, behind its route; while there is none, requests are
 * refused as "try again".
 */
#include "broker/edge/edge_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/edge/edge_target.h"

struct debug_mail {
    struct edge_mail mail;
    char sandbox_id[EDGE_ID_CAP];
};

static void deliver_debug(struct edge_mail *m, void *receiver)
{
    struct debug_mail *d = ADIT_CONTAINER_OF(m, struct debug_mail, mail);
    struct edge_loop *l = receiver;

    memcpy(l->debug_id, d->sandbox_id, sizeof(l->debug_id));
    free(d);
}

int edge_set_debug_sandbox(struct edge *e, const char *sandbox_id, struct adit_err *err)
{
    for (size_t i = 0; i < e->conf.loops; i++) {
        struct debug_mail *d = calloc(1, sizeof(*d));

        if (d == NULL)
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to name the debug sandbox");
        d->mail.deliver = deliver_debug;
        (void)snprintf(d->sandbox_id, sizeof(d->sandbox_id), "%s", sandbox_id); /* ids fit */
        if (!edge_mailbox_post(&e->loops[i].inbox, &d->mail))
            free(d); /* that loop is closing */
    }
    return 0;
}

void edge_debug_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                        uint16_t port)
{
    struct edge_target target = {.kind = EDGE_TARGET_SANDBOX, .port = port};

    if (l->debug_id[0] == '\0')
        edge_mailbox_read(&l->inbox); /* it may have been named a moment ago */
    target.sandbox_id = adit_view_str(l->debug_id);
    if (target.sandbox_id.len > 0) {
        edge_proxy_request(l, x, head, &target);
        return;
    }
    (void)http_exchange_header_str(x, "Content-Type", "text/plain; charset=utf-8"); /* a courtesy */
    (void)http_exchange_header_str(x, "Retry-After", "1");                          /* the same */
    http_exchange_reply(x, 503, (struct adit_view)ADIT_VIEW("The debug sandbox is being made"));
}
