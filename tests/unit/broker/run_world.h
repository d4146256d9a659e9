/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of one run of a test program that makes containers: /tmp/adit-run-XXXXXX, whose last
 * part names the run's control groups too. It is locked for as long as a process of the run lives,
 * so a run that was killed is known by its free lock, and what it left is removed by the next.
 */
#ifndef ADIT_TESTS_UNIT_RUN_WORLD_H
#define ADIT_TESTS_UNIT_RUN_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "broker/launcher/launch_cgroup.h"

#define RUN_WORLD_CAP 32
#define RUN_WORLD_ATTEMPTS 10
#define RUN_WORLD_PATH "/tmp/adit-run-"

/* The name of the run's control groups. */
static inline const char *run_world_group(const char *dir)
{
    return strrchr(dir, '/') + 1;
}

/* Return: false when a group stays. */
static inline bool run_world_remove_groups(const char *parent)
{
    struct launch_cgroup_host host;
    bool is_gone = launch_cgroup_open(&host, parent, NULL) == 0;
    for (int i = 0; is_gone && i < host.hierarchy_cnt; i++) {
        int fd = openat(host.fd[i], parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *groups = fd < 0 ? NULL : fdopendir(fd);
        for (struct dirent *d; groups && (d = readdir(groups)) != NULL;)
            if (d->d_type == DT_DIR && d->d_name[0] != '.')
                is_gone = launch_cgroup_remove(&host, d->d_name, NULL) == 0 && is_gone;
        if (groups)
            (void)closedir(groups);                       /* read only */
        (void)unlinkat(host.fd[i], parent, AT_REMOVEDIR); /* mostly gone with the last of them */
    }
    launch_cgroup_close(&host);
    return is_gone;
}

/* Remove a run's groups with their processes, and its directory. Return: false if some is left. */
static inline bool run_world_remove(const char *dir)
{
    char command[RUN_WORLD_CAP + 16];
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return run_world_remove_groups(run_world_group(dir)) && system(command) == 0;
}

/* Return: false if the leftovers of an earlier run cannot be removed. */
static inline bool run_world_remove_dead(void)
{
    glob_t found;
    bool is_clean = true;
    if (glob(RUN_WORLD_PATH "??????", 0, NULL, &found))
        return true; /* none */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        ADIT_CLEANUP_CLOSE int fd = open(found.gl_pathv[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            is_clean = run_world_remove(found.gl_pathv[i]) && is_clean;
    }
    globfree(&found);
    return is_clean;
}

/* Return: whether @dir is this process's now, and still there. It stays open until the last process
 * of the run ends. */
static inline bool run_world_lock(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && access(dir, F_OK) == 0)
        return true;
    if (fd >= 0)
        (void)close(fd); /* nothing was locked */
    return false;
}

/* Make the world of this run and lock it. Return: false when that fails. */
static inline bool run_world_make(char dir[RUN_WORLD_CAP])
{
    if (!run_world_remove_dead())
        return false;
    /* Another run that starts now may take one without a lock for a dead run's. */
    for (int attempt = 0; attempt < RUN_WORLD_ATTEMPTS; attempt++) {
        (void)snprintf(dir, RUN_WORLD_CAP, RUN_WORLD_PATH "XXXXXX");
        if (mkdtemp(dir) && run_world_lock(dir))
            return true;
    }
    return false;
}

#endif
