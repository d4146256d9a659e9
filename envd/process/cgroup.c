/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's cgroups.
 *
 * Theory of operation
 *
 * What:    <own group>/adit/{user,pty,system}, each with a CPU weight: a terminal goes before
 * commands, and helpers (tag "_system") after both. A child is born inside its group (see spawn.c).
 * Nothing is limited here: limits are set from outside the sandbox.
 * Failure: every step may be missing (no cgroup2, mounted read-only, controllers held by processes
 * in the parent group). What cannot be made is done without.
 */
#include "envd/process/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

static const struct {
    const char *name, *cpu_weight;
} groups[CGROUP_KIND_CNT] = {
    [CGROUP_USER] = {"user", "100"},
    [CGROUP_PTY] = {"pty", "200"},
    [CGROUP_SYSTEM] = {"system", "50"},
};

static void put(int dir_fd, const char *file, const char *word)
{
    int fd = openat(dir_fd, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, word, strlen(word));
    (void)ignored; /* a controller that is not there is done without */
    (void)close(fd);
}

/* Open @name below @parent_fd, made if need be. */
static int open_group(int parent_fd, const char *name)
{
    if (mkdirat(parent_fd, name, 0755) != 0 && errno != EEXIST)
        return -1;
    return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The path in the line "0::/path" of /proc/self/cgroup. */
static int own_path(struct adit_buf *out)
{
    struct adit_buf text;
    adit_buf_init(&text, 64 * 1024);
    int code = adit_file_read(AT_FDCWD, "/proc/self/cgroup", &text, NULL);
    struct adit_view rest = adit_buf_view(&text), line;
    bool is_found = false, has_more = code == ADIT_OK;
    while (has_more && !is_found) {
        has_more = adit_view_split(rest, '\n', &line, &rest);
        is_found = adit_view_has_prefix(line, "0::/");
    }
    code = ADIT_ERR_NOT_FOUND;
    if (is_found)
        code = adit_buf_appendf(out, "%.*s", (int)line.len - 3, line.ptr + 3);
    adit_buf_fini(&text);
    return code;
}

static int open_own(const char *mount)
{
    struct statfs fs;
    if (statfs(mount, &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return -1;
    struct adit_buf path;
    adit_buf_init(&path, 8192);
    int fd = -1;
    if (adit_buf_append_str(&path, mount) == ADIT_OK && own_path(&path) == ADIT_OK) {
        char *text = adit_buf_steal_str(&path);
        if (text)
            fd = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free(text);
    }
    adit_buf_fini(&path);
    return fd;
}

void cgroup_set_init(struct cgroup_set *s, const char *mount)
{
    for (size_t i = 0; i < CGROUP_KIND_CNT; i++)
        s->dir_fds[i] = -1;
    int own = open_own(mount);
    int adit = own >= 0 ? open_group(own, "adit") : -1;
    if (adit >= 0) {
        put(own, "cgroup.subtree_control", "+cpu");
        put(adit, "cgroup.subtree_control", "+cpu");
    }
    for (size_t i = 0; adit >= 0 && i < CGROUP_KIND_CNT; i++) {
        s->dir_fds[i] = open_group(adit, groups[i].name);
        if (s->dir_fds[i] >= 0)
            put(s->dir_fds[i], "cpu.weight", groups[i].cpu_weight);
    }
    if (adit < 0)
        adit_log(ADIT_LOG_INFO, "cgroups_unavailable", LOG_S("mount", mount));
    if (adit >= 0)
        (void)close(adit);
    if (own >= 0)
        (void)close(own);
}

void cgroup_set_fini(struct cgroup_set *s)
{
    for (size_t i = 0; i < CGROUP_KIND_CNT; i++)
        if (s->dir_fds[i] >= 0)
            (void)close(s->dir_fds[i]);
}
