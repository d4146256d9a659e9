/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups for what runs in the guest, so that a busy command leaves a terminal and envd usable. */
#ifndef ENVD_CGROUP_H
#define ENVD_CGROUP_H

#include "base/view.h"

enum cgroup_kind { CGROUP_USER, CGROUP_PTY, CGROUP_SYSTEM, CGROUP_KIND_CNT };

/* @dir_fds: -1 where there is no such group. */
struct cgroup_set {
    int dir_fds[CGROUP_KIND_CNT];
};

/*
 * Make the groups below envd's own one. @mount: where cgroup2 is mounted. A guest without a
 * writable cgroup2 gets none, which is logged once and is no error.
 */
void cgroup_set_init(struct cgroup_set *s, const char *mount);
void cgroup_set_fini(struct cgroup_set *s);

#endif
