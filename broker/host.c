/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a broker: directories, launcher, lock and driver.
 *
 * Theory of operation
 *
 * host_prepare() runs before there is a thread or a loop, because it forks the launcher, the one
 * process that keeps privileges. The state directory is locked after that fork, so that the lock
 * ends with this process and not with a launcher that lives a moment longer. host_open() puts the
 * driver on the loop.
 */
#include "broker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/launcher/launcher.h"
#include "broker/sandbox_id.h"
#include "broker/vmm/container.h"

/* An OCI runtime given by name is looked for in PATH, because the launcher wants a path. */
static int find_runtime(const char *name, char *out, size_t cap, struct adit_err *err)
{
    struct adit_view rest = adit_view_str(getenv("PATH")), dir;
    if (strchr(name, '/')) {
        (void)snprintf(out, cap, "%s", name);
        return 0;
    }
    while (rest.len > 0) {
        (void)adit_view_split(rest, ':', &dir, &rest); /* the last one has no ":" */
        int n = snprintf(out, cap, "%.*s/%s", ADIT_VIEW_ARG(dir), name);
        if (dir.len && n > 0 && (size_t)n < cap && access(out, X_OK) == 0)
            return 0;
    }
    return adit_err_set(err, ADIT_ERR_NOT_FOUND, "the OCI runtime %s is not in PATH", name);
}

/* Before anything else runs: it forks. */
static int start_launcher(const struct broker_conf *c, int *fd, struct adit_err *err)
{
    char runtime[PATH_MAX], sandboxes[PATH_MAX];
    pid_t pid; /* it ends with our descriptor; nobody waits for it */
    int rc = find_runtime(c->runtime, runtime, sizeof(runtime), err);
    if (rc)
        return rc;
    int len = snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", c->state_dir);
    if (len + 1 + SANDBOX_ID_LEN >= LAUNCH_SANDBOX_DIR_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "state-dir: %s is too long for the sockets in it, by %d characters",
                            c->state_dir, len + 2 + SANDBOX_ID_LEN - LAUNCH_SANDBOX_DIR_CAP);
    if ((rc = adit_file_mkdirs(sandboxes, 0700, err)) ||
        (rc = adit_file_mkdirs(c->templates_dir, 0755, err)))
        return rc;
    struct launcher_conf conf = {
        .runtime = runtime,
        .envd = c->envd,
        .templates_dir = c->templates_dir,
        .sandboxes_dir = sandboxes,
        .cgroup_parent = "adit",
        .uid = geteuid(),
        .gid = getegid(),
    };
    return launcher_start(&conf, fd, &pid, err);
}

/* One broker a state directory. The lock is let go by the kernel however this process ends; it is
 * taken after the launcher was forked, which may live a moment longer. */
static int lock_state(const char *state_dir, struct adit_err *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/lock", state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* stays open */
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return adit_err_set(err, ADIT_ERR_EXISTS, "another broker uses %s", state_dir);
    return 0;
}

static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* the old limit serves fewer clients */
    }
    (void)prctl(PR_SET_DUMPABLE, 0);             /* keys and tokens stay out of core files */
    (void)setenv("UV_THREADPOOL_SIZE", "16", 0); /* records wait for the disk side by side */
}

int host_prepare(struct host *h, const struct broker_conf *c, struct adit_err *err)
{
    raise_limits();
    int rc = start_launcher(c, &h->launcher_fd, err);
    return rc ? rc : lock_state(c->state_dir, err);
}

static void on_launcher_lost(void *owner)
{
    struct host *h = owner;
    if (h->on_lost)
        h->on_lost(h->owner);
}

int host_open(struct host *h, uv_loop_t *uv, const struct broker_conf *c, vmm_exited_fn on_exited,
              void (*on_lost)(void *owner), void *owner, struct adit_err *err)
{
    static const struct launcher_client_ops ops = {.on_lost = on_launcher_lost};
    const char *base = strrchr(c->runtime, '/');
    bool is_gvisor = strcmp(base ? base + 1 : c->runtime, "runsc") == 0;
    h->on_lost = on_lost;
    h->owner = owner;
    int rc = launcher_client_open(uv, h->launcher_fd, &ops, h, &h->launcher, err);
    if (rc)
        return rc;
    struct container_conf conf = {
        .loop = uv,
        .client = h->launcher,
        .isolation = is_gvisor ? "gvisor" : "container",
        .on_exited = on_exited,
        .owner = owner,
    };
    rc = container_open(&conf, &h->vmm, err);
    if (rc == 0)
        h->driver = container_driver(h->vmm);
    return rc;
}

void host_close(struct host *h)
{
    launcher_client_close(h->launcher);
    container_close(h->vmm);
}
