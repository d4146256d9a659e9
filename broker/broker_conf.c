/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's configuration.
 *
 * Theory of operation
 *
 * Every option is one row below. What a row leaves empty has a place of its own: programs beside
 * the broker's, templates in the state directory, as many relay loops as cores. Paths are made
 * absolute once, because the launcher and the scheduler are other processes. CPU, memory and disk
 * may be promised several times over: sandboxes are mostly idle, limits are enforced by cgroups,
 * and the sum is bounded here.
 */
#include "broker/broker_conf.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(field) offsetof(struct broker_conf, field)
#define HOUR (UINT64_C(3600) * 1000)

static const struct adit_conf_row rows[] = {
    {"listen", ADIT_CONF_STRING, ROW(listen), "127.0.0.1:3000", 1, 1024,
     "addresses to serve on, separated by commas (host:port, :port, unix:/path, tls:host:port)"},
    {"tls-cert", ADIT_CONF_STRING, ROW(tls_cert), "", 0, 4000,
     "PEM file of the certificate and those that lead to its authority, for tls: addresses"},
    {"tls-key", ADIT_CONF_STRING, ROW(tls_key), "", 0, 4000, "PEM file of its private key"},
    {"domain", ADIT_CONF_STRING, ROW(domain), "localhost", 1, 200,
     "sandbox hosts are <port>-<id>.<domain>"},
    {"user", ADIT_CONF_STRING, ROW(user), "", 0, 64,
     "who to become once started: a name or a number (default: adit-broker, or 61180)"},
    {"state-dir", ADIT_CONF_STRING, ROW(state_dir), "/var/lib/adit", 1, 4000,
     "records, tokens' seed, the scheduler's data"},
    {"admin-token-file", ADIT_CONF_STRING, ROW(admin_token_file), "", 0, 4000,
     "the operator's token for the API, mode 0600 (default: made in the state directory)"},
    {"templates-dir", ADIT_CONF_STRING, ROW(templates_dir), "", 0, 4000,
     "templates by id (default: templates in the state directory)"},
    {"envd", ADIT_CONF_STRING, ROW(envd), "", 0, 4000,
     "the agent's program (default: beside this program)"},
    {"runtime", ADIT_CONF_STRING, ROW(runtime), "crun", 1, 4000,
     "OCI runtime of the container driver: a name in PATH or a path"},
    {"isolation", ADIT_CONF_STRING, ROW(isolation), "auto", 1, 15,
     "what sandboxes run in when neither create nor template says it: vm, container, gvisor, or "
     "auto: vm where KVM works, else containers"},
    {"allow-isolations", ADIT_CONF_STRING, ROW(allow_isolations), "vm,container,gvisor", 1, 100,
     "what creates and templates may ask for, separated by commas"},
    {"vmm", ADIT_CONF_STRING, ROW(vmm), "auto", 1, 31,
     "monitor of virtual machines: qemu, firecracker, cloud-hypervisor, or auto: the first that is "
     "there"},
    {"accel", ADIT_CONF_STRING, ROW(accel), "auto", 1, 15,
     "what runs a machine's code: kvm, tcg (emulation, for tests and hosts without KVM), or auto: "
     "kvm where it works"},
    {"qemu", ADIT_CONF_STRING, ROW(qemu), "qemu-system-x86_64", 1, 4000,
     "QEMU of virtual machines: a name in PATH or a path below /usr"},
    {"vsock-device", ADIT_CONF_STRING, ROW(vsock_device), "", 0, 4000,
     "the program of QEMU's vsock device (default: beside this program)"},
    {"firecracker", ADIT_CONF_STRING, ROW(firecracker), "firecracker", 1, 4000,
     "Firecracker, 1.16.1 or later: a name in PATH or a path"},
    {"cloud-hypervisor", ADIT_CONF_STRING, ROW(cloud_hypervisor), "cloud-hypervisor", 1, 4000,
     "Cloud Hypervisor: a name in PATH or a path"},
    {"guest-dir", ADIT_CONF_STRING, ROW(guest_dir), "", 0, 4000,
     "kernel and initramfs of virtual machines (default: guest in the state directory)"},
    {"scheduler", ADIT_CONF_STRING, ROW(scheduler), "", 0, 100,
     "the scheduler's address (unix:/path or ip:port); default: an own one is started"},
    {"scheduler-program", ADIT_CONF_STRING, ROW(scheduler_program), "", 0, 4000,
     "the program of an own scheduler (default: beside this program)"},
    {"relay-loops", ADIT_CONF_UINT, ROW(relay_loops), "0", 0, 64,
     "threads that move bytes (0: one a core)"},
    {"max-connections", ADIT_CONF_UINT, ROW(connections_max), "16384", 1, 1000000,
     "client connections at once"},
    {"max-channels", ADIT_CONF_UINT, ROW(channels_max), "1024", 1, 65536,
     "connections to one sandbox at once"},
    {"max-sandboxes", ADIT_CONF_UINT, ROW(sandbox_max), "500", 1, 4096, "sandboxes at once"},
    {"max-pids", ADIT_CONF_UINT, ROW(pids_max), "4096", 16, 4194304,
     "processes and threads in one sandbox"},
    {"max-timeout", ADIT_CONF_DURATION, ROW(max_timeout_ms), "24h", 1000, 8760 * HOUR,
     "longest life of a sandbox"},
    {"warm", ADIT_CONF_STRING, ROW(warm), "", 0, 4000,
     "sandboxes that wait booted for creates to come: TEMPLATE=N, separated by commas; "
     "TEMPLATE:ISOLATION=N where that is not the usual one (default: none)"},
    {"warm-booting", ADIT_CONF_UINT, ROW(warm_booting), "2", 1, 64, "of these, booted at once"},
    {"cpu-overcommit", ADIT_CONF_UINT, ROW(cpu_percent), "6400", 1, 1000000,
     "virtual CPUs given out, in percent of the machine's"},
    {"memory-overcommit", ADIT_CONF_UINT, ROW(memory_percent), "400", 1, 1000000,
     "memory given out, in percent of the machine's"},
    {"disk-overcommit", ADIT_CONF_UINT, ROW(disk_percent), "1000", 1, 1000000,
     "disk space given out, in percent of the state directory's file system"},
    {"header-timeout", ADIT_CONF_DURATION, ROW(header_ms), "10s", 100, HOUR,
     "for a request's head to arrive"},
    {"body-timeout", ADIT_CONF_DURATION, ROW(body_ms), "60s", 100, 24 * HOUR,
     "without a byte of a body that is awaited"},
    {"client-idle-timeout", ADIT_CONF_DURATION, ROW(client_idle_ms), "650s", 1000, 24 * HOUR,
     "kept for a client's next request"},
    {"guest-idle-timeout", ADIT_CONF_DURATION, ROW(guest_idle_ms), "610s", 1000, 24 * HOUR,
     "kept for the next request to a sandbox"},
    {"dial-timeout", ADIT_CONF_DURATION, ROW(dial_ms), "2s", 10, 60000, "to connect to a sandbox"},
    {"drain-timeout", ADIT_CONF_DURATION, ROW(drain_ms), "30s", 0, HOUR,
     "for running requests when the broker stops"},
    {"create-timeout", ADIT_CONF_DURATION, ROW(create_ms), "30s", 1000, 600000,
     "for a sandbox to be made"},
    {"ready-timeout", ADIT_CONF_DURATION, ROW(ready_ms), "10s", 100, 600000,
     "for its envd to answer"},
    {"sandbox-log-retention", ADIT_CONF_DURATION, ROW(sandbox_log_retention_ms), "24h", 0,
     8760 * HOUR, "how long the log of an ended sandbox is kept"},
    {"sandbox-log-space", ADIT_CONF_SIZE, ROW(sandbox_log_bytes), "1GiB", 1 << 20, 0,
     "disk space of all logs of sandboxes; the oldest go first"},
    {"egress", ADIT_CONF_BOOL, ROW(egress), "true", 0, 0,
     "let sandboxes reach the internet, as far as their own rules allow"},
    {"egress-allow-private", ADIT_CONF_STRING, ROW(egress_allow_private), "", 0, 4000,
     "addresses and blocks that are not of the public internet, separated by commas, which a "
     "sandbox's own allowOut may open"},
    {"egress-deny", ADIT_CONF_STRING, ROW(egress_deny), "", 0, 4000,
     "addresses and blocks that no sandbox reaches, whatever its rules, separated by commas"},
    {"egress-connections", ADIT_CONF_UINT, ROW(egress_connections), "1024", 1, 1024,
     "connections of one sandbox to the outside at once"},
    {"egress-bandwidth", ADIT_CONF_SIZE, ROW(egress_bandwidth), "0", 0, UINT64_C(1) << 40,
     "bytes a second that one sandbox moves in and out (0: as many as there are)"},
    {"egress-ca-file", ADIT_CONF_STRING, ROW(egress_ca_file), "", 0, 4000,
     "PEM file of authorities that servers may have certificates of, besides those that the system "
     "trusts, where headers are set over https"},
    {"dns-server", ADIT_CONF_STRING, ROW(dns_server), "", 0, 1000,
     "name servers for sandboxes, separated by commas: ip or ip:port, [ipv6]:port (default: those "
     "of /etc/resolv.conf)"},
    {"metrics-listen", ADIT_CONF_STRING, ROW(metrics_listen), "", 0, 100,
     "address of figures for Prometheus, without authentication (default: none)"},
    {"debug", ADIT_CONF_BOOL, ROW(debug), "false", 0, 0,
     "serve clients in debug mode: one open sandbox, without keys, for this machine only"},
    {"debug-listen-envd", ADIT_CONF_STRING, ROW(debug_envd), "127.0.0.1:49983,[::1]:49983", 0, 200,
     "loopback addresses that debug mode serves the debug sandbox's envd on"},
    {"debug-listen-interpreter", ADIT_CONF_STRING, ROW(debug_interpreter),
     "127.0.0.1:49999,[::1]:49999", 0, 200, "the same for its code interpreter"},
    {"session-template", ADIT_CONF_STRING, ROW(session_template), "code-interpreter-v1", 1, 200,
     "template of a session's sandbox of type code_interpreter"},
    {"session-custom-template", ADIT_CONF_STRING, ROW(session_custom), "", 0, 200,
     "template of type custom (default: there is no such type)"},
    {"session-idle-timeout", ADIT_CONF_DURATION, ROW(session_idle_ms), "30m", 1000, 8760 * HOUR,
     "a session's sandbox that is not used for so long is closed"},
    {"session-max-life", ADIT_CONF_DURATION, ROW(session_life_ms), "1h", 1000, 8760 * HOUR,
     "longest life of a session's sandbox"},
    {"session-execute-timeout", ADIT_CONF_DURATION, ROW(session_execute_ms), "300s", 100, 24 * HOUR,
     "for a session's execution, its wait for those before it included"},
    {"session-open", ADIT_CONF_BOOL, ROW(session_open), "false", 0, 0,
     "for development: the session API needs no key on this machine's own addresses"},
    {"seccomp", ADIT_CONF_STRING, ROW(seccomp), "enforce", 1, 8,
     "the own system call filter: enforce, log (to the kernel's log) or off"},
    {"log-level", ADIT_CONF_STRING, ROW(log_level), "info", 1, 8, "debug, info, warn or error"},
    {"log-json", ADIT_CONF_BOOL, ROW(log_json), "false", 0, 0, "log lines as JSON objects"},
    {NULL, ADIT_CONF_BOOL, 0, NULL, 0, 0, NULL},
};

const struct adit_conf_spec broker_conf_spec = {
    .program = "broker",
    .usage =
        "broker [OPTIONS]                   serve\n"
        "broker env [OPTIONS]               print the client's variables\n"
        "broker keys [OPTIONS] list         list the API keys\n"
        "broker keys [OPTIONS] add NAME [TEAM] [LIMIT=N]...  make an API key\n"
        "broker keys [OPTIONS] limit ID|team:[TEAM] [LIMIT=N]...  limit what it may have\n"
        "broker keys [OPTIONS] teams        list teams that have sandboxes or limits\n"
        "broker keys [OPTIONS] revoke ID    revoke an API key (an unambiguous prefix will do)\n"
        "broker dev-cert [OPTIONS] [DIR]    make a certificate for a try\n"
        "broker doctor [OPTIONS] [--json]   say what this host can run sandboxes in\n"
        "broker purge [OPTIONS]             end every sandbox of a state directory\n",
    .env_prefix = "ADIT_BROKER",
    .file = "/etc/adit/broker.conf",
    .rows = rows,
};

/* Replace *path (heap) by "<dir><suffix>". */
static int place(char **path, const char *dir, size_t dir_len, const char *suffix)
{
    size_t len = strlen(suffix);
    char *text = malloc(dir_len + len + 1);
    if (!text)
        return ADIT_ERR_NO_MEMORY;
    memcpy(text, dir, dir_len);
    memcpy(text + dir_len, suffix, len + 1);
    free(*path);
    *path = text;
    return 0;
}

/* A program beside this one. */
static int place_program(char **path, const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return ADIT_ERR_IO;
    self[n] = '\0';
    return place(path, self, (size_t)(strrchr(self, '/') - self), name);
}

/* Absolute without looking at the disk: the directory may not exist yet. */
static int make_absolute(char **path)
{
    char cwd[PATH_MAX];
    size_t len = strlen(*path);
    while (len > 1 && (*path)[len - 1] == '/')
        (*path)[--len] = '\0';
    if ((*path)[0] == '/')
        return 0;
    if (!getcwd(cwd, sizeof(cwd) - 1))
        return ADIT_ERR_IO;
    len = strlen(cwd);
    cwd[len++] = '/';
    char *relative = *path;
    *path = NULL;
    int rc = place(path, cwd, len, relative);
    if (rc)
        *path = relative;
    else
        free(relative);
    return rc;
}

/* Paths that were not given. */
static int place_missing(struct broker_conf *c)
{
    int rc = 0;
    if (rc == 0 && !c->templates_dir[0])
        rc = place(&c->templates_dir, c->state_dir, strlen(c->state_dir), "/templates");
    if (rc == 0 && !c->guest_dir[0])
        rc = place(&c->guest_dir, c->state_dir, strlen(c->state_dir), "/guest");
    if (rc == 0 && !c->vsock_device[0])
        rc = place_program(&c->vsock_device, "/vsock-device");
    if (rc == 0 && !c->envd[0])
        rc = place_program(&c->envd, "/envd");
    if (rc == 0 && !c->scheduler_program[0])
        rc = place_program(&c->scheduler_program, "/scheduler");
    return rc;
}

static int fill_in(struct broker_conf *c)
{
    /* A program without a slash is a name in PATH. */
    char **paths[] = {&c->templates_dir,
                      &c->guest_dir,
                      &c->envd,
                      &c->vsock_device,
                      &c->scheduler_program,
                      c->tls_cert[0] ? &c->tls_cert : NULL,
                      c->tls_key[0] ? &c->tls_key : NULL,
                      strchr(c->runtime, '/') ? &c->runtime : NULL,
                      strchr(c->qemu, '/') ? &c->qemu : NULL,
                      strchr(c->firecracker, '/') ? &c->firecracker : NULL,
                      strchr(c->cloud_hypervisor, '/') ? &c->cloud_hypervisor : NULL};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (c->relay_loops == 0)
        c->relay_loops = cores < 1 ? 1 : cores > 64 ? 64 : (uint64_t)cores;
    int rc = make_absolute(&c->state_dir);
    if (rc == 0)
        rc = place_missing(c);
    for (size_t i = 0; rc == 0 && i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i])
            rc = make_absolute(paths[i]);
    return rc;
}

int broker_conf_load(int argc, char **argv, struct broker_conf *out, int *rest, int *info,
                     struct adit_err *err)
{
    int rc = adit_conf_load(&broker_conf_spec, argc, argv, out, rest, info, err);
    if (rc)
        return rc;
    rc = fill_in(out);
    if (rc) {
        broker_conf_fini(out);
        return adit_err_set(err, rc, "the paths of the configuration cannot be made absolute");
    }
    return 0;
}

void broker_conf_fini(struct broker_conf *c)
{
    adit_conf_fini(&broker_conf_spec, c);
}
