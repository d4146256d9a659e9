/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's configuration.
 *
 * Theory of operation
 *
 * Every option is one row. --parent-fd is for a broker that starts its own scheduler: the read end
 * of a pipe; when nobody holds the other end any more, the scheduler ends in order.
 */
#include "scheduler/scheduler_conf.h"

#define ROW(field) offsetof(struct scheduler_conf, field)

static const struct adit_conf_row rows[] = {
    {"listen", ADIT_CONF_STRING, ROW(listen), "unix:/run/adit/scheduler.sock", 1, 1024,
     "address to serve brokers on (unix:/path, ip:port on the loopback, or fd:n, inherited)"},
    {"data-dir", ADIT_CONF_STRING, ROW(data_dir), "/var/lib/adit/scheduler", 1, 4000,
     "where the records are kept"},
    {"user", ADIT_CONF_STRING, ROW(user), "", 0, 64,
     "who to become when started as root: a name or a number (default: adit-scheduler, or 61181)"},
    {"client", ADIT_CONF_STRING, ROW(client), "", 0, 64,
     "who may connect to a unix:/path when started as root (default: adit-broker, or 61180)"},
    {"heartbeat", ADIT_CONF_DURATION, ROW(heartbeat_ms), "2s", 100, 60000,
     "how often a node reports; after three missed ones it gets no sandboxes"},
    {"claim-ttl", ADIT_CONF_DURATION, ROW(claim_ttl_ms), "30s", 1000, 600000,
     "for a placed sandbox to be confirmed by its node"},
    {"team-sandboxes", ADIT_CONF_UINT, ROW(team_sandboxes), "0", 0, 65536,
     "sandboxes a team may have at once, unless it has a limit of its own (0: any number)"},
    {"create-rate", ADIT_CONF_UINT, ROW(create_rate), "0", 0, 100000,
     "creates a second with one key, unless it or its team has a limit (0: any number)"},
    {"create-burst", ADIT_CONF_UINT, ROW(create_burst), "0", 0, 100000,
     "of these, at once (0: as many as a second gives)"},
    {"parent-fd", ADIT_CONF_UINT, ROW(parent_fd), "0", 0, 1024,
     "descriptor of a pipe; end when its other side is closed (0: none)"},
    {"metrics-listen", ADIT_CONF_STRING, ROW(metrics_listen), "", 0, 100,
     "address of figures for Prometheus, without authentication (default: none)"},
    {"seccomp", ADIT_CONF_STRING, ROW(seccomp), "enforce", 1, 8,
     "the own system call filter: enforce, log (to the kernel's log) or off"},
    {"log-level", ADIT_CONF_STRING, ROW(log_level), "info", 1, 8, "debug, info, warn or error"},
    {"log-json", ADIT_CONF_BOOL, ROW(log_json), "false", 0, 0, "log lines as JSON objects"},
    {NULL, ADIT_CONF_BOOL, 0, NULL, 0, 0, NULL},
};

const struct adit_conf_spec scheduler_conf_spec = {
    .program = "scheduler",
    .usage = "scheduler [OPTIONS]\n",
    .env_prefix = "ADIT_SCHEDULER",
    .file = "/etc/adit/scheduler.conf",
    .rows = rows,
};
