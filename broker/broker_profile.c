/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker may do once it serves.
 *
 * Theory of operation
 *
 * What: of the file system it keeps its state directory, the templates (to read), and what the
 * configuration names beside them: each has a line below. What needs more is asked of the launcher
 * or of the scheduler's keeper.
 */
#include "broker/broker_profile.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* State, templates, our own figures, the scheduler's socket, certificate and key with what they are
 * links to. */
#define MOUNTS_MAX 8

struct places {
    char folders[MOUNTS_MAX][PATH_MAX];
    struct confine_mount mounts[MOUNTS_MAX];
    size_t cnt;
};

static bool is_within(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The folder of a file, so that a file that is replaced there later is seen. */
static void add_folder(struct places *p, const char *state_dir, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = p->folders[p->cnt];
    (void)snprintf(folder, PATH_MAX, "%.*s", slash ? (int)(slash - file) : 0, file);
    if (!is_within(folder, state_dir)) /* else it can be reached already */
        p->mounts[p->cnt++] = (struct confine_mount){folder, false};
}

/* A certificate is often a link to a file in a folder beside it. */
static void add_linked(struct places *p, const char *state_dir, const char *file)
{
    char target[PATH_MAX];
    if (!file[0])
        return;
    add_folder(p, state_dir, file);
    if (realpath(file, target))
        add_folder(p, state_dir, target);
}

static int by_length(const void *a, const void *b)
{
    size_t left = strlen(((const struct confine_mount *)a)->path);
    size_t right = strlen(((const struct confine_mount *)b)->path);
    return (left > right) - (left < right);
}

static void collect(struct places *p, const struct broker_conf *c)
{
    p->mounts[p->cnt++] = (struct confine_mount){c->state_dir, true};
    p->mounts[p->cnt++] = (struct confine_mount){c->templates_dir, false};
    p->mounts[p->cnt++] = (struct confine_mount){CONFINE_OWN_PROCESS, false};
    if (strncmp(c->scheduler, "unix:/", 6) == 0)
        add_folder(p, c->state_dir, c->scheduler + 5);
    add_linked(p, c->state_dir, c->tls_cert);
    add_linked(p, c->state_dir, c->tls_key);
    /* What lies in another one comes after it. */
    qsort(p->mounts, p->cnt, sizeof(p->mounts[0]), by_length);
}

int broker_profile_enter(const struct confine_user *user, const struct broker_conf *conf,
                         struct adit_err *err)
{
    struct places places = {.cnt = 0};
    collect(&places, conf);
    struct confine_profile profile = {
        .user = *user, .mounts = places.mounts, .mount_cnt = places.cnt};
    return confine_enter(&profile, err);
}
