/* SPDX-License-Identifier: Apache-2.0 */
/* All processes that clients started: finding, reaping, and remembering them for a while. */
#ifndef ENVD_PROCESS_TABLE_H
#define ENVD_PROCESS_TABLE_H

#include <sys/resource.h>

#include "envd/envd.h"
#include "envd/process/cgroup.h"
#include "envd/process/process.h"

/* Processes at once; beyond it Start answers resource_exhausted. */
#define PROCESS_TABLE_MAX 4096
/* Ends remembered for late Connect calls, and for how long. */
#define PROCESS_TABLE_RETAINED_MAX 1024
#define PROCESS_TABLE_RETENTION_MS 30000

/*
 * A process of envd's own: who started it is told of its end. Embedded in its owner; not a process
 * of clients.
 */
struct process_child {
    struct adit_list node;
    pid_t pid;
    void (*on_ended)(struct process_child *c, int wait_status);
};

/*
 * @by_pid:   pid → live or retained process
 * @live, @retained: in the order of start and of end
 * @children: struct process_child, borrowed
 * @nofile:   the descriptor limit that children get
 * @on_idle:  NULL while nobody waits for the last process
 * @backlogs: what all processes keep of their output
 * @chunk:    where output is read into, and gone when the event was sent
 */
struct process_table {
    struct envd *envd; /* borrowed */
    struct adit_map by_pid;
    struct adit_list live, retained, children;
    size_t live_cnt, retained_cnt;
    uint64_t last_serial;
    struct cgroup_set cgroups;
    struct rlimit nofile;
    struct backlog_budget backlogs;
    uv_signal_t child_signal;
    void (*on_idle)(void *owner);
    void *idle_owner;
    char chunk[PROCESS_CHUNK_CAP];
};

/* @nofile: for children. Errors: NO_MEMORY, IO. */
ADIT_MUST_CHECK int process_table_new(struct envd *e, const struct rlimit *nofile,
                                      struct process_table **out, struct adit_err *err);
/* SIGKILL to what is left, streams broken off, handles closed; frees itself later. */
void process_table_close(struct process_table *t);
/* @number to the session of every live process. */
void process_table_signal_all(struct process_table *t, int number);
/* Call @on_idle once, when no process is left (may be at once). */
void process_table_when_idle(struct process_table *t, void (*on_idle)(void *owner), void *owner);
/* Collect every child that has ended, ours or (as PID 1 or subreaper) not. */
void process_table_reap(struct process_table *t);

/* Tell of its end, once; until process_table_remove_child(). Several hundred at most: they are
 * looked through. */
void process_table_add_child(struct process_table *t, struct process_child *c);
void process_table_remove_child(struct process_child *c);
/* Enter a process that was spawned. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int process_table_add(struct process_table *t, struct process *p);
/* Called by a process that has ended: keep it for late Connect calls. */
void process_table_retain(struct process *p);

/*
 * The live process of a selector, of a tag the last one; with @retained also one that ended lately.
 * Errors: NOT_FOUND "process with pid <n> not found" / "process with tag <t> not found";
 * UNIMPLEMENTED for an empty selector.
 */
ADIT_MUST_CHECK int process_table_find(struct process_table *t,
                                       const Process__ProcessSelector *selector, bool retained,
                                       struct process **out, struct adit_err *err);

#endif
