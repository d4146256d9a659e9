/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a host.
 *
 * Theory of operation
 *
 * What:   one function a thing that sandboxes need; each says what is there, or what is missing and
 * the command that adds it. Three sums come of them: containers, machines, machines with KVM. It
 * runs with the rights of whoever calls it, changes nothing that stays, and may run beside a
 * broker: it takes no lock. Whether KVM runs a guest is found out by a launcher of its own.
 * Failure: what cannot be found out counts as missing, with the reason.
 */
#include "broker/doctor.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "broker/host.h"
#include "broker/jtext.h"
#include "broker/launcher/launch_cgroup.h"
#include "broker/launcher/launcher.h"
#include "broker/launcher/runtime_version.h"
#include "broker/program.h"

#define DETAIL_CAP 320
#define ITEMS_MAX 16
#define CGROUP_PARENT "adit-doctor"

enum verdict { OK, MISSING, WARNING };

/* @fix: what to do about it; "" */
struct item {
    const char *name;
    enum verdict verdict;
    char detail[DETAIL_CAP], fix[DETAIL_CAP];
};

struct doctor {
    const struct broker_conf *conf;
    struct isolation_vm vm;
    struct item items[ITEMS_MAX];
    size_t cnt;
};

static bool add(struct doctor *d, const char *name, enum verdict verdict, const char *detail,
                const char *fix)
{
    struct item *i = &d->items[d->cnt++]; /* fewer than ITEMS_MAX are looked at */
    i->name = name;
    i->verdict = verdict;
    (void)snprintf(i->detail, sizeof(i->detail), "%s", detail);
    (void)snprintf(i->fix, sizeof(i->fix), "%s", verdict == OK ? "" : fix);
    return verdict != MISSING;
}

/* ---- what all sandboxes need ---- */

static bool look_at_user(struct doctor *d)
{
    bool is_root = geteuid() == 0;
    return add(d, "root", is_root ? OK : MISSING,
               is_root ? "the launcher starts with it" : "not root: nothing else is certain",
               "run as root");
}

static bool look_at_cgroups(struct doctor *d)
{
    struct launch_cgroup_host h;
    struct adit_err err = ADIT_ERR_INIT;
    if (launch_cgroup_open(&h, CGROUP_PARENT, &err))
        return add(d, "control groups", MISSING, err.msg,
                   "mount cgroup2 on /sys/fs/cgroup with the memory, cpu and pids controllers");
    const char *layout = h.is_v2 ? "version 2" : "version 1, with memory, cpu and pids";
    launch_cgroup_close(&h);
    return add(d, "control groups", OK, layout, "");
}

/* ---- containers ---- */

/* In a child: whoever is in a new user namespace cannot leave it. */
static bool has_user_namespaces(void)
{
    int status = 1;
    pid_t child = fork();
    if (child == 0)
        _exit(unshare(CLONE_NEWUSER) ? 1 : 0);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child > 0 && status == 0;
}

static bool look_at_namespaces(struct doctor *d)
{
    bool has = has_user_namespaces();
    return add(d, "user namespaces", has ? OK : MISSING, has ? "allowed" : "refused",
               "sysctl -w user.max_user_namespaces=15000");
}

/* The first line of what "--version" says. */
static void version_of(const char *path, char *out, size_t cap)
{
    char text[512];
    struct adit_view line, rest, all = {text, program_ask_version(path, text, sizeof(text))};
    (void)adit_view_split(all, '\n', &line, &rest); /* one line is fine */
    (void)snprintf(out, cap, "%s", line.len ? "" : "it does not say its version");
    for (size_t i = 0; i < line.len && i + 1 < cap; i++) {
        out[i] = line.ptr[i] >= ' ' && line.ptr[i] <= '~' ? line.ptr[i] : '?';
        out[i + 1] = '\0';
    }
}

static bool look_at_runtime(struct doctor *d)
{
    char path[PATH_MAX], line[128], version[RUNTIME_VERSION_CAP];
    if (program_find(d->conf->runtime, path, sizeof(path), NULL) || access(path, X_OK))
        return add(d, "OCI runtime", MISSING, d->conf->runtime, "apt-get install crun");
    version_of(path, line, sizeof(line));
    bool is_safe = !strstr(path, "crun") || runtime_version_is_safe(adit_view_str(line), version);
    return add(d, "OCI runtime", is_safe ? OK : WARNING, line,
               "crun " RUNTIME_VERSION_CRUN_SAFE " or newer for code of strangers");
}

/* Asks the kernel for the generation of its tables: one that has none of them says so. */
static bool has_nftables(void)
{
    struct {
        struct nlmsghdr head;
        struct nfgenmsg body;
    } question = {
        {sizeof(question), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST, 1, 0},
        {AF_UNSPEC, NFNETLINK_V0, 0}};
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    bool has = fd >= 0 && send(fd, &question, sizeof(question), 0) == (ssize_t)sizeof(question) &&
               recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer.head) &&
               answer.head.nlmsg_type != NLMSG_ERROR;
    if (fd >= 0)
        (void)close(fd); /* nothing to lose */
    return has;
}

static void look_at_nftables(struct doctor *d)
{
    bool has = has_nftables();
    (void)add(d, "nftables", has ? OK : WARNING,
              has ? "programs in containers need no proxy settings"
                  : "programs in containers reach the internet by a proxy only",
              "modprobe nf_tables");
}

/* ---- virtual machines ---- */

static bool look_at_qemu(struct doctor *d)
{
    char path[PATH_MAX], line[128];
    if (program_find(d->conf->qemu, path, sizeof(path), NULL) || access(path, X_OK))
        return add(d, "QEMU", MISSING, d->conf->qemu, "apt-get install qemu-system-x86");
    version_of(path, line, sizeof(line));
    return add(d, "QEMU", OK, line, "");
}

static bool look_at_device(struct doctor *d)
{
    bool has = access(d->conf->vsock_device, X_OK) == 0;
    return add(d, "vsock device", has ? OK : MISSING, d->conf->vsock_device,
               "install the program vsock-device beside the broker");
}

static bool look_at_images(struct doctor *d)
{
    char path[PATH_MAX + sizeof("/initramfs")], fix[DETAIL_CAP];
    (void)snprintf(path, sizeof(path), "%s/vmlinux", d->conf->guest_dir);
    bool has = access(path, R_OK) == 0;
    (void)snprintf(path, sizeof(path), "%s/initramfs", d->conf->guest_dir);
    has = has && access(path, R_OK) == 0;
    (void)snprintf(fix, sizeof(fix),
                   "rootfs-builder kernel --out %.96s && rootfs-builder initramfs --out %.96s",
                   d->conf->guest_dir, d->conf->guest_dir);
    return add(d, "guest images", has ? OK : MISSING, d->conf->guest_dir, fix);
}

static void look_at_templates(struct doctor *d)
{
    char pattern[PATH_MAX + sizeof("/*/root.erofs")], fix[DETAIL_CAP];
    glob_t found = {0};
    (void)snprintf(pattern, sizeof(pattern), "%s/*/root.erofs", d->conf->templates_dir);
    bool has = glob(pattern, 0, NULL, &found) == 0;
    (void)snprintf(fix, sizeof(fix), "rootfs-builder image --out %.250s", d->conf->templates_dir);
    (void)add(d, "templates' disks", has ? OK : WARNING,
              has ? "there are templates for machines" : "no template has disks for machines", fix);
    globfree(&found);
}

/* ---- KVM ---- */

static void on_nothing(void *owner)
{
    (void)owner; /* a probe without a launcher fails by itself */
}

/* With a launcher whose directories are empty ones of our own. */
static int probe_in(struct doctor *d, const char *dir, struct adit_err *err)
{
    static const struct launcher_client_ops ops = {.on_lost = on_nothing};
    char runtime[PATH_MAX], qemu[PATH_MAX];
    struct launcher_conf conf = {.runtime = runtime,
                                 .envd = d->conf->envd,
                                 .qemu = qemu,
                                 .vsock_device = d->conf->vsock_device,
                                 .guest_dir = d->conf->guest_dir,
                                 .templates_dir = dir,
                                 .sandboxes_dir = dir,
                                 .cgroup_parent = CGROUP_PARENT};
    struct launcher_client *client;
    uv_loop_t uv;
    pid_t pid;
    int fd = -1, rc = program_find(d->conf->runtime, runtime, sizeof(runtime), err);
    if (rc == 0)
        rc = program_find(d->conf->qemu, qemu, sizeof(qemu), err);
    if (rc == 0)
        rc = launcher_start(&conf, &fd, &pid, err);
    if (rc)
        return rc;
    if (uv_loop_init(&uv))
        return adit_err_set(err, ADIT_ERR_IO, "no event loop");
    rc = launcher_client_open(&uv, fd, &ops, NULL, &client, err);
    if (rc)
        return rc;
    kvm_probe_run(&d->vm.kvm, &uv, client);
    launcher_client_close(client);
    (void)uv_run(&uv, UV_RUN_DEFAULT);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    (void)uv_loop_close(&uv);
    return 0;
}

static void probe(struct doctor *d)
{
    char dir[] = "/tmp/adit-doctor-XXXXXX";
    struct adit_err err = ADIT_ERR_INIT;
    if (!mkdtemp(dir))
        (void)adit_err_sys(&err, errno, "make a directory in /tmp");
    else if (probe_in(d, dir, &err) == 0)
        err.code = 0;
    if (err.code)
        (void)snprintf(d->vm.kvm.why, sizeof(d->vm.kvm.why), "not tried: %s", err.msg);
    (void)rmdir(dir); /* empty, or not there */
}

static void look_at_kvm(struct doctor *d, bool can_try)
{
    struct kvm_probe *kvm = &d->vm.kvm;
    kvm_probe_load(kvm, d->conf->state_dir);
    if (!kvm->is_known && can_try)
        probe(d);
    (void)add(d, "KVM", kvm->works ? OK : WARNING,
              kvm->works    ? "it runs a guest"
              : kvm->why[0] ? kvm->why
                            : "not tried: QEMU or guest images are missing",
              "a processor with virtualization that the host above this one passes on, "
              "and modprobe kvm_intel or kvm_amd");
}

/* ---- other programs, which nothing depends on ---- */

static void look_at_other(struct doctor *d, const char *name, const char *fix)
{
    char path[PATH_MAX], line[128];
    if (program_find(name, path, sizeof(path), NULL)) {
        (void)add(d, name, WARNING, "not installed", fix);
        return;
    }
    version_of(path, line, sizeof(line));
    (void)add(d, name, OK, line, "");
}

/* ---- the sums ---- */

struct sums {
    bool has_containers, has_machines, has_kvm;
};

static struct sums look(struct doctor *d)
{
    struct sums sums;
    bool has_host = look_at_user(d);
    has_host = look_at_cgroups(d) && has_host;
    bool has_namespaces = look_at_namespaces(d);
    sums.has_containers = look_at_runtime(d) && has_host && has_namespaces;
    look_at_nftables(d);
    bool has_qemu = look_at_qemu(d), has_device = look_at_device(d);
    sums.has_machines = look_at_images(d) && has_qemu && has_device && has_host;
    look_at_templates(d);
    look_at_kvm(d, sums.has_machines);
    sums.has_kvm = sums.has_machines && d->vm.kvm.works;
    look_at_other(d, "firecracker", "a release of its project, 1.16.1 or newer");
    look_at_other(d, "cloud-hypervisor", "a release of its project");
    look_at_other(d, "runsc", "a release of gVisor");
    return sums;
}

static const char *machines_word(const struct sums *s)
{
    return s->has_kvm ? "yes" : s->has_machines ? "emulated, slow and no boundary" : "no";
}

static void print_text(const struct doctor *d, const struct sums *s)
{
    static const char *const words[] = {"ok", "MISSING", "-"};
    for (size_t i = 0; i < d->cnt; i++) {
        const struct item *item = &d->items[i];
        (void)printf("%-8s %-17s %s\n", words[item->verdict], item->name, item->detail);
        if (item->fix[0])
            (void)printf("%-8s %-17s   -> %s\n", "", "", item->fix);
    }
    (void)printf("\ncontainers: %s\nvirtual machines: %s\n", s->has_containers ? "yes" : "no",
                 machines_word(s));
}

/* Return: NULL without memory. */
static json_t *document_of(const struct doctor *d, const struct sums *s)
{
    static const char *const words[] = {"ok", "missing", "warning"};
    json_t *list = json_array();
    for (size_t i = 0; list && i < d->cnt; i++) {
        const struct item *item = &d->items[i];
        json_t *entry = json_pack("{s:s, s:s, s:s, s:s}", "name", item->name, "verdict",
                                  words[item->verdict], "detail", item->detail, "fix", item->fix);
        if (json_array_append_new(list, entry))
            json_decref(adit_steal(&list));
    }
    return json_pack("{s:o, s:b, s:b, s:b}", "items", list, "containers", (int)s->has_containers,
                     "machines", (int)s->has_machines, "kvm", (int)s->has_kvm);
}

static bool print_json(const struct doctor *d, const struct sums *s)
{
    json_t *doc = document_of(d, s);
    bool is_good = doc && json_dumpf(doc, stdout, JSON_INDENT(2)) == 0 && putchar('\n') == '\n';
    json_decref(doc);
    return is_good;
}

int doctor_main(const struct broker_conf *c, bool is_json)
{
    static struct doctor d; /* large, and zeroed */
    char boot_id[RECORD_BOOT_ID_CAP] = "";
    adit_log_init("broker", ADIT_LOG_ERROR, false);
    d.conf = c;
    host_read_boot_id(boot_id);
    isolation_find_vm(c, boot_id, &d.vm);
    struct sums sums = look(&d);
    if (!is_json)
        print_text(&d, &sums);
    else if (!print_json(&d, &sums))
        return 1;
    return sums.has_containers || sums.has_machines ? 0 : 1;
}
