/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a broker: directories, lock, helpers with privileges, driver.
 *
 * Theory of operation
 *
 * What takes root comes first, before there is a thread or a loop: host_prepare() makes and locks
 * the directories and forks the launcher, host_start_scheduler() forks the scheduler's keeper, and
 * after host_confine() this process has no privileges any more. Both helpers close what they
 * inherit, the lock included, so that it ends with this process. host_open() puts the driver on the
 * loop.
 * State directory: root's, with the broker's group and the sticky bit: the broker makes and
 * replaces its own files in it, but cannot put something else in the place of "templates" or
 * "scheduler", which privileged processes open at the next start.
 */
#include "broker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/admin_token.h"
#include "broker/broker_profile.h"
#include "broker/dev_cert.h"
#include "broker/launcher/launcher.h"
#include "broker/program.h"
#include "broker/sandbox_id.h"
#include "broker/scheduler_keeper.h"
#include "broker/vmm/cloud_hypervisor.h"
#include "broker/vmm/container.h"
#include "broker/vmm/firecracker.h"

/* Root, the broker's group, others nothing; the sticky bit. */
#define STATE_MODE 01770
/* Freed memory that an arena keeps. More than a relay's buffers, which come and go all the time. */
#define KEPT_BYTES (1 << 20)

/* Before anything else runs: it forks. */
static int start_launcher(struct host *h, const struct broker_conf *c, struct adit_err *err)
{
    char runtime[PATH_MAX], qemu[PATH_MAX], sandboxes[PATH_MAX];
    char firecracker[PATH_MAX], cloud_hypervisor[PATH_MAX];
    pid_t pid; /* it ends with our descriptor; nobody waits for it */
    int rc = program_find(c->runtime, runtime, sizeof(runtime), err);
    if (rc)
        return adit_err_wrap(err, "the OCI runtime");
    if (program_find(c->qemu, qemu, sizeof(qemu), NULL))
        qemu[0] = '\0'; /* a host without virtual machines */
    if (program_find(c->firecracker, firecracker, sizeof(firecracker), NULL))
        firecracker[0] = '\0';
    if (program_find(c->cloud_hypervisor, cloud_hypervisor, sizeof(cloud_hypervisor), NULL))
        cloud_hypervisor[0] = '\0';
    int len = snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", c->state_dir);
    if (len + 1 + SANDBOX_ID_LEN >= LAUNCH_SANDBOX_DIR_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "state-dir: %s is too long for the sockets in it, by %d characters",
                            c->state_dir, len + 2 + SANDBOX_ID_LEN - LAUNCH_SANDBOX_DIR_CAP);
    struct launcher_conf conf = {
        .runtime = runtime,
        .envd = c->envd,
        .qemu = qemu,
        .vsock_device = c->vsock_device,
        .firecracker = firecracker,
        .cloud_hypervisor = cloud_hypervisor,
        .guest_dir = c->guest_dir,
        .templates_dir = c->templates_dir,
        .sandboxes_dir = sandboxes,
        .cgroup_parent = "adit",
        .uid = h->user.uid,
        .gid = h->user.gid,
    };
    return launcher_start(&conf, &h->launcher_fd, &pid, err);
}

/* One broker a state directory. The lock is this process's alone: with the kind that children have,
 * too (flock), one that was just forked and has not closed it yet would outlive a killed broker and
 * stop the next one. The kernel lets it go however this process ends. */
static int lock_state(int state_fd, const char *state_dir, struct adit_err *err)
{
    int fd = openat(state_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) /* else it stays open */
        return adit_err_sys(err, errno, "open %s/lock", state_dir);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &whole))
        return adit_err_set(err, ADIT_ERR_EXISTS, "another broker uses %s", state_dir);
    return 0;
}

/* What root opens has to be root's, and what is a link to it, too. Links are resolved here, once.
 */
static int resolve_templates(struct broker_conf *c, struct adit_err *err)
{
    struct stat name, dir;
    char *real = realpath(c->templates_dir, NULL);
    if (!real || lstat(c->templates_dir, &name) || stat(real, &dir)) {
        free(real);
        return adit_err_sys(err, errno, "templates-dir: %s", c->templates_dir);
    }
    free(c->templates_dir);
    c->templates_dir = real;
    if (!S_ISDIR(dir.st_mode) || name.st_uid != 0 || dir.st_uid != 0 || (dir.st_mode & 022))
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "templates-dir: %s has to be a directory that only root can change",
                            real);
    return 0;
}

/* The name in the state directory that leads to @path; "": it lies elsewhere. */
static void name_in_state(const char *state_dir, const char *path, char out[NAME_MAX + 1])
{
    size_t len = strlen(state_dir);
    bool is_in = strncmp(path, state_dir, len) == 0 && path[len] == '/';
    (void)snprintf(out, NAME_MAX + 1, "%.*s", is_in ? (int)strcspn(path + len + 1, "/") : 0,
                   is_in ? path + len + 1 : "");
}

/* See "State directory" above. What other processes own in it is left alone, and so is the key of
 * an authority: the broker needs only what it signed. */
static int give_state(int state_fd, const struct broker_conf *c, const struct confine_user *user,
                      struct adit_err *err)
{
    char templates[NAME_MAX + 1], guest[NAME_MAX + 1];
    const char *skip[] = {"scheduler",
                          "templates",
                          ADMIN_TOKEN_FILE,
                          LAUNCH_CONTAINER_NAME,
                          LAUNCH_VM_NAME,
                          DEV_CERT_CA_KEY,
                          templates,
                          guest,
                          NULL};
    name_in_state(c->state_dir, c->templates_dir, templates);
    name_in_state(c->state_dir, c->guest_dir, guest);
    int rc = confine_give_tree(state_fd, skip, user, err);
    if (rc == 0 && (fchown(state_fd, 0, user->gid) || fchmod(state_fd, STATE_MODE)))
        rc = adit_err_sys(err, errno, "give %s to group %u", c->state_dir, user->gid);
    return rc;
}

static int prepare_state(struct broker_conf *c, const struct confine_user *user,
                         struct adit_err *err)
{
    char sandboxes[PATH_MAX];
    (void)snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", c->state_dir);
    int rc = adit_file_mkdirs(sandboxes, 0700, err);
    if (rc == 0)
        rc = adit_file_mkdirs(c->templates_dir, 0755, err);
    if (rc == 0)
        rc = resolve_templates(c, err);
    if (rc)
        return rc;
    ADIT_CLEANUP_CLOSE int fd = open(c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", c->state_dir);
    rc = lock_state(fd, c->state_dir, err);
    return rc ? rc : give_state(fd, c, user, err);
}

/*
 * What the heap keeps for later: KEPT_BYTES in each arena, one a loop and one more. Left alone,
 * glibc makes 8 arenas a core, so that each thread of the pool keeps the memory of the largest job
 * that it ever ran (a sweep of 32,768 logs: 4 MiB) and raises its thresholds with each large block.
 */
static void bound_kept_memory(const struct broker_conf *c)
{
    (void)mallopt(M_ARENA_MAX, (int)c->relay_loops + 2);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

static void set_limits(const struct broker_conf *c)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* the old limit serves fewer clients */
    }
    (void)setenv("UV_THREADPOOL_SIZE", "16", 0); /* records wait for the disk side by side */
    bound_kept_memory(c);
}

/* Read while /proc can be seen. Without it records count by the wall clock. */
void host_read_boot_id(char out[RECORD_BOOT_ID_CAP])
{
    struct adit_buf text;
    adit_buf_init(&text, 256);
    if (adit_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text, NULL) == 0 &&
        text.len >= RECORD_BOOT_ID_CAP - 1)
        memcpy(out, adit_buf_view(&text).ptr, RECORD_BOOT_ID_CAP - 1); /* zeroed: it has an end */
    adit_buf_fini(&text);
}

int host_prepare(struct host *h, struct broker_conf *c, struct adit_err *err)
{
    if (geteuid() != 0)
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "has to be started as root: its launcher makes mounts, user ids and "
                            "control groups, the rest becomes a user without privileges");
    set_limits(c);
    host_read_boot_id(h->boot_id);
    machine_read(&h->machine);
    isolation_find_vm(c, h->boot_id, &h->vm);
    isolation_find_monitor(c, "firecracker", h->firecracker_missing);
    isolation_find_monitor(c, "cloud-hypervisor", h->cloud_hypervisor_missing);
    int rc = isolation_check(c, err);
    if (rc == 0)
        rc = confine_user_find(c->user, CONFINE_BROKER_ACCOUNT, CONFINE_BROKER_UID, &h->user, err);
    if (rc == 0)
        rc = prepare_state(c, &h->user, err);
    return rc ? rc : start_launcher(h, c, err);
}

int host_start_scheduler(struct host *h, const struct broker_conf *c, struct adit_err *err)
{
    const struct scheduler_keeper_conf conf = {
        .program = c->scheduler_program,
        .state_dir = c->state_dir,
        .log_level = c->log_level,
        .log_json = c->log_json,
        .client = h->user,
    };
    return scheduler_keeper_start(&conf, &h->scheduler_fd, err);
}

int host_confine(const struct host *h, const struct broker_conf *c, struct adit_err *err)
{
    return broker_profile_enter(&h->user, c, err);
}

static void on_launcher_lost(void *owner)
{
    struct host *h = owner;
    h->is_launcher_lost = true;
    if (h->on_lost)
        h->on_lost(h->owner);
}

static void open_drivers(struct host *h, struct net_loop *loop, const struct broker_conf *c)
{
    const char *base = strrchr(c->runtime, '/');
    bool is_gvisor = strcmp(base ? base + 1 : c->runtime, "runsc") == 0;
    container_init(&h->container, h->launched, is_gvisor ? "gvisor" : "container");
    qemu_init(&h->qemu, h->launched, loop, h->vm.missing[0] ? h->vm.missing : NULL);
    firecracker_init(&h->firecracker, h->firecracker_missing[0] ? h->firecracker_missing : NULL);
    monitor_open(&h->firecracker, h->launched, loop, c->guest_dir);
    cloud_hypervisor_init(&h->cloud_hypervisor,
                          h->cloud_hypervisor_missing[0] ? h->cloud_hypervisor_missing : NULL);
    monitor_open(&h->cloud_hypervisor, h->launched, loop, c->guest_dir);
    h->vmms =
        (struct vmm_set){.items = {&h->container.vmm, &h->qemu.launched.vmm,
                                   &h->firecracker.launched.vmm, &h->cloud_hypervisor.launched.vmm},
                         .cnt = 4,
                         .fallback = &h->container.vmm};
}

int host_open(struct host *h, struct net_loop *loop, const struct broker_conf *c,
              vmm_exited_fn on_exited, void (*on_lost)(void *owner), void *owner,
              struct adit_err *err)
{
    static const struct launcher_client_ops ops = {.on_lost = on_launcher_lost};
    h->on_lost = on_lost;
    h->owner = owner;
    int rc = launcher_client_open(loop->uv, h->launcher_fd, &ops, h, &h->launcher, err);
    if (rc)
        return rc;
    struct launched_conf conf = {
        .loop = loop->uv, .client = h->launcher, .on_exited = on_exited, .owner = owner};
    rc = launched_open(&conf, &h->launched, err);
    if (rc == 0)
        open_drivers(h, loop, c);
    return rc;
}

/* Known from now on; the file is for the next start. */
static void probe_kvm(struct host *h, uv_loop_t *uv, const struct broker_conf *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    kvm_probe_load(&h->vm.kvm, c->state_dir);
    if (!isolation_needs_probe(c, &h->vm))
        return;
    kvm_probe_run(&h->vm.kvm, uv, h->launcher);
    adit_log(ADIT_LOG_INFO, "kvm_probed", LOG_S("works", h->vm.kvm.works ? "true" : "false"),
             LOG_S("why", h->vm.kvm.why));
    if (h->vm.kvm.is_known && kvm_probe_save(&h->vm.kvm, c->state_dir, &err))
        adit_log(ADIT_LOG_WARN, "kvm_probe_not_kept", LOG_ERR(&err));
}

int host_choose_isolation(struct host *h, uv_loop_t *uv, const struct broker_conf *c,
                          struct adit_err *err)
{
    void (*on_lost)(void *owner) = adit_steal(&h->on_lost); /* its owner is not ready for that */
    probe_kvm(h, uv, c);
    h->on_lost = on_lost;
    if (h->is_launcher_lost)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "the launcher was killed");
    bool has_kvm = isolation_has_kvm(c, &h->vm);
    if (has_kvm)
        qemu_use_kvm(&h->qemu);
    else
        h->firecracker.launched.vmm.unusable = h->cloud_hypervisor.launched.vmm.unusable =
            "it needs KVM";
    int rc = isolation_choose(c, &h->vm, &h->vmms, err);
    if (rc)
        return rc;
    const char *unusable = h->qemu.launched.vmm.unusable;
    adit_log(ADIT_LOG_INFO, "isolation", LOG_S("default", h->vmms.fallback->isolation),
             LOG_S("vm", unusable  ? unusable
                         : has_kvm ? "kvm"
                                   : "tcg"));
    return 0;
}

void host_close(struct host *h)
{
    launcher_client_close(h->launcher);
    launched_close(h->launched);
}
