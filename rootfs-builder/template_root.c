/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every root gets and must not have.
 *
 * Theory of operation
 *
 * Checks: /dev, /proc and /sys are directories or missing. Runtimes mount over them, and some have
 *         followed a symlink that an image had there.
 * /dev:   is emptied: device nodes are made where a sandbox starts, and those of a tree would only
 *         lie on the host's disk.
 * /.e2b:  says to programs inside what they run in.
 * Trust:  the tree may be a stranger's: nothing below its top directory is reached through a link.
 */
#include "rootfs-builder/template_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

static int check_mount_points(int root_fd, struct adit_err *err)
{
    static const char *const names[] = {"dev", "proc", "sys"};
    struct stat st;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (fstatat(root_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "/%s in the root is no directory",
                                names[i]);
    return 0;
}

static int empty_dev(int root_fd, struct adit_err *err)
{
    int rc = adit_file_remove_tree(root_fd, "dev", err);
    if (!rc && mkdirat(root_fd, "dev", 0755))
        rc = adit_err_sys(err, errno, "make /dev in the root");
    return rc;
}

static int write_marker(const struct template_out *t, int root_fd, struct adit_err *err)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "ENV_ID=%s\nTEMPLATE_ID=%s\nBUILD_ID=%s\n", t->template_id,
                   t->template_id, t->build_id);
    return adit_file_replace(root_fd, ".e2b", adit_view_str(text), 0644, err);
}

int template_root_finish(const struct template_out *t, const char *work_dir, struct adit_err *err)
{
    char root[4096];
    (void)snprintf(root, sizeof(root), "%s/root", work_dir);
    ADIT_CLEANUP_CLOSE int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root_fd < 0)
        return adit_err_sys(err, errno, "open %s", root);
    int rc = check_mount_points(root_fd, err);
    if (!rc)
        rc = empty_dev(root_fd, err);
    return rc ? rc : write_marker(t, root_fd, err);
}
