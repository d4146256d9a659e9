/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's configuration: one table for flags, environment and file. */
#ifndef BROKER_BROKER_CONF_H
#define BROKER_BROKER_CONF_H

#include "base/conf.h"

/* Times are milliseconds. Paths are made absolute, and empty ones get their places, by _load. */
struct broker_conf {
    char *listen, *domain, *user, *state_dir, *templates_dir, *envd, *runtime, *qemu, *vsock_device,
        *firecracker, *cloud_hypervisor, *guest_dir, *isolation, *allow_isolations, *vmm, *accel,
        *scheduler, *scheduler_program, *admin_token_file, *log_level, *seccomp, *metrics_listen,
        *tls_cert, *tls_key, *debug_envd, *debug_interpreter, *egress_allow_private, *egress_deny,
        *egress_ca_file, *dns_server, *session_template, *session_custom, *warm;
    uint64_t warm_booting, relay_loops, connections_max, channels_max, pids_max;
    uint64_t header_ms, body_ms, client_idle_ms, guest_idle_ms, dial_ms, drain_ms, create_ms,
        ready_ms, max_timeout_ms;
    uint64_t sandbox_log_retention_ms, sandbox_log_bytes;
    uint64_t cpu_percent, memory_percent, disk_percent, sandbox_max;
    uint64_t egress_connections, egress_bandwidth;
    uint64_t session_idle_ms, session_life_ms, session_execute_ms;
    bool debug;
    bool egress;
    bool session_open;
    bool log_json;
};

extern const struct adit_conf_spec broker_conf_spec;

/* As adit_conf_load(); then fills in the paths that were left empty. */
ADIT_MUST_CHECK int broker_conf_load(int argc, char **argv, struct broker_conf *out, int *rest,
                                     int *info, struct adit_err *err);
void broker_conf_fini(struct broker_conf *c);

#endif
