/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a sandbox.
 *
 * Theory of operation
 *
 * What:  the agent as the only entry process, root inside and nobody outside; user, pid, mount,
 *        network, ipc, uts and cgroup namespaces of its own; the capabilities that containers
 * usually have; system calls by list (oci_seccomp.c). new privileges stay possible: sudo and su
 * work, and what they can gain ends at the user namespace. Limits are not in it: the launcher makes
 * the control group itself and the runtime is told to leave groups alone. Trust: everything that
 * varies comes from the launcher's own configuration or is a number. Nothing of a client's or an
 * image's is in here.
 */
#include "broker/launcher/oci_config.h"

#include "broker/jtext.h"

#include <jansson.h>
#include <stdio.h>

#include "broker/launcher/oci_seccomp.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What containers usually have, and CAP_NET_ADMIN for envd, which takes it from all that it starts.
 */
static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FOWNER",           "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",  "CAP_NET_ADMIN",    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
    "CAP_SETFCAP",     "CAP_SETGID", "CAP_SETPCAP",      "CAP_SETUID",           "CAP_SYS_CHROOT"};
static const char *const namespaces[] = {"user", "pid", "mount", "network", "ipc", "uts", "cgroup"};
static const char *const masked_paths[] = {
    "/proc/acpi",       "/proc/asound",        "/proc/interrupts",  "/proc/kcore",
    "/proc/keys",       "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats",   "/sys/firmware",     "/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                             "/proc/sysrq-trigger"};

static json_t *process(const struct oci_config *c)
{
    return json_pack(
        "{s:b, s:{s:i, s:i}, s:[s, s, s, s], s:[s, s], s:s, s:{s:o, s:o, s:o}, s:b, s:[{s:s, s:I, "
        "s:I}]}",
        "terminal", 0, "user", "uid", 0, "gid", 0, "args", OCI_CONFIG_ENVD, "--channel-fd", "3",
        "--log-json", "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root", "cwd", "/", "capabilities", "bounding",
        jtext_strings(capabilities, COUNT(capabilities)), "effective",
        jtext_strings(capabilities, COUNT(capabilities)), "permitted",
        jtext_strings(capabilities, COUNT(capabilities)), "noNewPrivileges", 0, "rlimits", "type",
        "RLIMIT_NOFILE", "soft", (json_int_t)c->nofile, "hard", (json_int_t)c->nofile);
}

static json_t *mounts(const struct oci_config *c)
{
    char shm_size[32];
    (void)snprintf(shm_size, sizeof(shm_size), "size=%llu", (unsigned long long)c->shm_bytes);
    return json_pack("[{s:s, s:s, s:s, s:[s, s, s]}, {s:s, s:s, s:s, s:[s, s, s, s]},"
                     " {s:s, s:s, s:s, s:[s, s, s, s, s, s]}, {s:s, s:s, s:s, s:[s, s, s, s]},"
                     " {s:s, s:s, s:s, s:[s, s, s]}, {s:s, s:s, s:s, s:[s, s, s, s]}, {s:s, s:s, "
                     "s:s, s:[s, s, s, s]}]",
                     "destination", "/proc", "type", "proc", "source", "proc", "options", "nosuid",
                     "noexec", "nodev", "destination", "/dev", "type", "tmpfs", "source", "tmpfs",
                     "options", "nosuid", "strictatime", "mode=755", "size=65536", "destination",
                     "/dev/pts", "type", "devpts", "source", "devpts", "options", "nosuid",
                     "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", "destination",
                     "/dev/shm", "type", "tmpfs", "source", "shm", "options", "nosuid", "nodev",
                     "mode=1777", shm_size, "destination", "/dev/mqueue", "type", "mqueue",
                     "source", "mqueue", "options", "nosuid", "noexec", "nodev", "destination",
                     "/sys", "type", "sysfs", "source", "sysfs", "options", "nosuid", "noexec",
                     "nodev", "ro", "destination", OCI_CONFIG_ENVD, "type", "bind", "source",
                     c->envd_source, "options", "bind", "ro", "nosuid", "nodev");
}

static json_t *namespace_list(const struct oci_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < COUNT(namespaces); i++) {
        if (json_array_append_new(
                list, json_pack("{s:s, s:s*}", "type", namespaces[i], "path",
                                strcmp(namespaces[i], "user") == 0 ? c->userns : NULL))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *linux_part(const struct oci_config *c)
{
    return json_pack(
        "{s:o, s:[{s:i, s:I, s:I}], s:[{s:i, s:I, s:I}], s:o, s:o, s:o}", "namespaces",
        namespace_list(c), "uidMappings", "containerID", 0, "hostID", (json_int_t)c->id_base,
        "size", (json_int_t)c->id_cnt, "gidMappings", "containerID", 0, "hostID",
        (json_int_t)c->id_base, "size", (json_int_t)c->id_cnt, "maskedPaths",
        jtext_strings(masked_paths, COUNT(masked_paths)), "readonlyPaths",
        jtext_strings(readonly_paths, COUNT(readonly_paths)), "seccomp", oci_seccomp_json());
}

static int append_text(const char *bytes, size_t len, void *out)
{
    return adit_buf_append(out, bytes, len);
}

int oci_config_write(const struct oci_config *c, struct adit_buf *out, struct adit_err *err)
{
    /* json_pack() takes a NULL for "o" as its own failure and frees what it was given. */
    json_t *root =
        json_pack("{s:s, s:{s:s, s:b}, s:s, s:o, s:o, s:o}", "ociVersion", "1.0.0", "root", "path",
                  "rootfs", "readonly", 0, "hostname", OCI_CONFIG_HOSTNAME, "process", process(c),
                  "mounts", mounts(c), "linux", linux_part(c));
    if (root && c->seccomp_bpf &&
        json_object_set_new(root, "annotations",
                            json_pack("{s:s}", "run.oci.seccomp_bpf_data", c->seccomp_bpf))) {
        json_decref(root);
        root = NULL;
    }
    if (!root)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for config.json");
    int rc = json_dump_callback(root, append_text, out, JSON_COMPACT);
    json_decref(root);
    return rc ? adit_err_set(err, ADIT_ERR_LIMIT, "config.json does not fit") : 0;
}
