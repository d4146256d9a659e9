/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gets out of a sandbox, as long as it runs.
 *
 * Theory of operation
 *
 * What: opened before clients hear of the sandbox, told of each change of its rules once that is on
 * disk, closed when it is withdrawn. Failure: rules that cannot be told are not in force, and a
 * sandbox must not go by older ones; so nothing gets out of it until its rules are set again or the
 * next broker takes it up.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "broker/node/sandbox.h"

int sandbox_open_egress(struct sandbox *s, struct adit_err *err)
{
    const struct node_conf *conf = &s->node->conf;
    const struct sandbox_options *o = &s->settled;
    return conf->ops->open_egress(conf->owner, &s->record, o->network,
                                  o->internet == RECORD_INTERNET_DENIED, &s->egress, err);
}

void sandbox_update_egress(struct sandbox *s)
{
    const struct node_conf *conf = &s->node->conf;
    const struct sandbox_options *o = &s->settled;
    struct adit_err err = ADIT_ERR_INIT;
    int rc;
    if (s->phase != SANDBOX_PHASE_RUNNING || s->node->is_stopping)
        return;
    if (s->egress)
        rc = conf->ops->update_egress(conf->owner, s->egress, &s->record, o->network,
                                      o->internet == RECORD_INTERNET_DENIED, &err);
    else
        rc = sandbox_open_egress(s, &err);
    if (rc == ADIT_OK)
        return;
    adit_log(ADIT_LOG_ERROR, "egress_closed", LOG_S("sandbox", s->record.sandbox_id),
             LOG_ERR(&err));
    sandbox_close_egress(s);
}

void sandbox_close_egress(struct sandbox *s)
{
    if (s->egress)
        s->node->conf.ops->close_egress(s->node->conf.owner, adit_steal(&s->egress));
}
