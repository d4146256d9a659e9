/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's configuration: one table for flags, environment and file. */
#ifndef SCHEDULER_SCHEDULER_CONF_H
#define SCHEDULER_SCHEDULER_CONF_H

#include "base/conf.h"

/* Times are milliseconds. */
struct scheduler_conf {
    char *listen, *data_dir, *user, *client, *log_level, *seccomp, *metrics_listen;
    uint64_t heartbeat_ms, claim_ttl_ms, team_sandboxes, create_rate, create_burst, parent_fd;
    bool log_json;
};

extern const struct adit_conf_spec scheduler_conf_spec;

#endif
