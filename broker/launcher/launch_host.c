/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launcher opens at its start.
 *
 * Theory of operation
 *
 * What:    the directories that requests may name something in, the control groups, the OCI runtime
 *          as a sealed copy, and the filter for containers: all that can be wrong is found before
 *          the broker serves. What a virtual machine takes is looked for when one is asked for:
 *          a host without it has containers.
 * Namespaces: the launcher has a mount namespace of its own, that of the host is never changed.
 *          cgroupfs: a cgroup2 view is mounted over /sys/fs/cgroup, since crun stops at hybrid
 *          hosts even when told to leave groups alone.
 * Trust:   what @path of a request names is opened beneath the configured directory and without
 *          following links; what comes after that goes by descriptor.
 */
#include "broker/launcher/launch_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "broker/launcher/oci_seccomp.h"

#define COPY_STEP (16u << 20)

/* Open what @path names below the directory @root_fd, whose own path is @root. */
static int open_beneath(int root_fd, const char *root, const char *path, uint64_t flags, int *out,
                        struct adit_err *err)
{
    size_t len = strlen(root);
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    if (strncmp(path, root, len) != 0 || path[len] != '/')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is not below %s", path, root);
    *out = (int)syscall(SYS_openat2, root_fd, path + len + 1, &how, sizeof(how));
    return *out < 0 ? adit_err_sys(err, errno, "open %s", path) : 0;
}

int launch_host_open_template(const struct launch_host *h, const char *path, uint64_t flags,
                              int *out, struct adit_err *err)
{
    return open_beneath(h->templates_fd, h->conf->templates_dir, path, flags, out, err);
}

int launch_host_open_sandbox(const struct launch_host *h, const char *path, int *out,
                             struct adit_err *err)
{
    return open_beneath(h->sandboxes_fd, h->conf->sandboxes_dir, path, O_RDONLY | O_DIRECTORY, out,
                        err);
}

/* The broker's user can put something else in the place of its own directory, so no link is
 * followed there. That of the templates is root's. */
static int open_dir(const char *path, int *out, struct adit_err *err)
{
    *out = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *out < 0 ? adit_err_sys(err, errno, "open %s", path) : 0;
}

/*
 * A copy of the runtime that nobody can write to, not even a container that gets hold of
 * /proc/<runtime>/exe (CVE-2019-5736). crun would make one for itself at every start, which takes
 * it a second exec; it recognises a sealed one.
 */
static int seal_runtime(const char *path, int *out, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
    ADIT_CLEANUP_CLOSE int copy = memfd_create("runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t n = 1;
    if (file < 0 || access(path, X_OK))
        return adit_err_sys(err, errno, "OCI runtime %s", path);
    while (copy >= 0 && n > 0)
        n = sendfile(copy, file, NULL, COPY_STEP);
    if (copy < 0 || n < 0 ||
        fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
        return adit_err_sys(err, errno, "copy OCI runtime %s", path);
    *out = adit_steal_fd(&copy);
    return 0;
}

/* See "Namespaces" above. What the host mounts and unmounts later is still seen. */
static int enter_namespace(const struct launch_host *h, struct adit_err *err)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
        return adit_err_sys(err, errno, "make the launcher's mount namespace");
    if (!h->cgroups.is_v2 && mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL))
        return adit_err_sys(err, errno, "mount a view of cgroups");
    return 0;
}

static int compile_filter(char **out, struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, OCI_SECCOMP_BPF_CAP);
    int rc = oci_seccomp_bpf(&text, err);
    if (!rc && !(*out = adit_buf_steal_str(&text)))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the system call filter");
    adit_buf_fini(&text);
    return rc;
}

int launch_host_open(struct launch_host *h, const struct launcher_conf *conf, bool is_private,
                     struct adit_err *err)
{
    *h = (struct launch_host){
        .conf = conf, .templates_fd = -1, .sandboxes_fd = -1, .runtime_fd = -1};
    int rc = launch_cgroup_open(&h->cgroups, conf->cgroup_parent, err);
    if (!rc && is_private)
        rc = enter_namespace(h, err);
    if (!rc)
        rc = open_dir(conf->templates_dir, &h->templates_fd, err);
    if (!rc)
        rc = open_dir(conf->sandboxes_dir, &h->sandboxes_fd, err);
    if (!rc && access(conf->envd, X_OK))
        rc = adit_err_sys(err, errno, "the agent %s", conf->envd);
    if (!rc)
        rc = seal_runtime(conf->runtime, &h->runtime_fd, err);
    if (!rc)
        rc = compile_filter(&h->seccomp_bpf, err);
    if (rc)
        launch_host_close(h);
    return rc;
}

void launch_host_close(struct launch_host *h)
{
    int *fds[] = {&h->templates_fd, &h->sandboxes_fd, &h->runtime_fd};
    launch_cgroup_close(&h->cgroups);
    free(h->seccomp_bpf);
    h->seccomp_bpf = NULL;
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (*fds[i] >= 0)
            (void)close(*fds[i]); /* opened for reading only */
        *fds[i] = -1;
    }
}
