/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process table and the reaper.
 *
 * Theory of operation
 *
 * What:      one waitpid(-1) loop for everything: processes of clients, and orphans that came to
 * envd because it is PID 1 (or a subreaper); an orphan's end is only collected. It runs on SIGCHLD,
 * and also before a client's question is answered, so that a process which was just killed is not
 * seen as a zombie by the next command.
 *
 *   add -> live --process_table_retain--> retained --30 s, or pushed out--> freed
 *
 * Ownership: the table owns its processes in both lists.
 * Limits:    PROCESS_TABLE_MAX live, PROCESS_TABLE_RETAINED_MAX retained (the oldest goes first).
 * Pids:      a pid is used again by the kernel only after waitpid, so a live process that is not
 * reaped has its pid for itself. A retained one may see its pid return: the new process takes its
 * place.
 */
#include "envd/process/process_table.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static struct process *process_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct process, node);
}

static struct adit_view pid_key(const pid_t *pid)
{
    return adit_view_mem(pid, sizeof *pid);
}

static void on_child_signal(uv_signal_t *h, int number)
{
    (void)number;
    process_table_reap(h->data);
}

int process_table_new(struct envd *e, const struct rlimit *nofile, struct process_table **out,
                      struct adit_err *err)
{
    struct process_table *t = calloc(1, sizeof *t);
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    t->envd = e;
    t->nofile = *nofile;
    adit_map_init(&t->by_pid);
    adit_list_init(&t->live);
    adit_list_init(&t->retained);
    adit_list_init(&t->children);
    int failed = uv_signal_init(e->net.uv, &t->child_signal);
    if (failed) {
        free(t);
        return adit_err_sys(err, -failed, "signal handle");
    }
    t->child_signal.data = t;
    failed = uv_signal_start(&t->child_signal, on_child_signal, SIGCHLD);
    cgroup_set_init(&t->cgroups, "/sys/fs/cgroup");
    if (failed) {
        process_table_close(t);
        return adit_err_sys(err, -failed, "watch SIGCHLD");
    }
    *out = t;
    return ADIT_OK;
}

/* Off both lists and the map; frees @p once its handles are closed. */
static void forget(struct process *p)
{
    struct process_table *t = p->table;
    if (adit_map_get(&t->by_pid, pid_key(&p->pid)) == p)
        (void)adit_map_del(&t->by_pid, pid_key(&p->pid)); /* it is p */
    adit_list_remove(&p->node);
    net_deadline_cancel(&p->retention);
    process_close(p);
}

static void break_streams(struct process *p)
{
    struct adit_list *it;
    while ((it = adit_list_first(&p->subscribers))) {
        struct subscriber *s = ADIT_CONTAINER_OF(it, struct subscriber, node);
        rpc_call_abort(s->call);
        subscriber_free(s);
    }
}

/* Readers that still catch up are too slow for it. */
static void forget_retained(struct process *p)
{
    p->table->retained_cnt--;
    break_streams(p);
    forget(p);
}

static void on_retention_due(struct net_deadline *d)
{
    forget_retained(ADIT_CONTAINER_OF(d, struct process, retention));
}

static void on_table_closed(uv_handle_t *h)
{
    struct process_table *t = h->data;
    adit_map_fini(&t->by_pid);
    cgroup_set_fini(&t->cgroups);
    free(t);
}

static void break_off(struct process *p)
{
    break_streams(p);
    if (p->state == PROCESS_RUNNING)
        (void)kill(p->pid, SIGKILL); /* not reaped, so the pid is its own */
}

void process_table_close(struct process_table *t)
{
    struct adit_list *it;
    while ((it = adit_list_first(&t->live))) {
        break_off(process_of(it));
        forget(process_of(it));
    }
    while ((it = adit_list_first(&t->retained)))
        forget_retained(process_of(it));
    uv_close((uv_handle_t *)&t->child_signal, on_table_closed);
}

void process_table_signal_all(struct process_table *t, int number)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->live)
    if (process_of(it)->state == PROCESS_RUNNING)
        (void)kill(-process_of(it)->pid, number); /* its session's first group; it may be gone */
}

void process_table_add_child(struct process_table *t, struct process_child *c)
{
    adit_list_push(&t->children, &c->node);
}

void process_table_remove_child(struct process_child *c)
{
    adit_list_remove(&c->node);
}

static void tell_child(struct process_table *t, pid_t pid, int wait_status)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->children)
    {
        struct process_child *c = ADIT_CONTAINER_OF(it, struct process_child, node);
        if (c->pid == pid) {
            adit_list_remove(&c->node);
            c->on_ended(c, wait_status);
            return;
        }
    }
}

void process_table_reap(struct process_table *t)
{
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
        struct process *p = pid > 0 ? adit_map_get(&t->by_pid, pid_key(&pid)) : NULL;
        if (p && p->state == PROCESS_RUNNING)
            process_on_reaped(p, wait_status);
        else if (pid > 0)
            tell_child(t, pid, wait_status);
    }
}

int process_table_add(struct process_table *t, struct process *p)
{
    struct process *old = adit_map_get(&t->by_pid, pid_key(&p->pid));
    if (old && old->state == PROCESS_ENDED)
        forget_retained(old);
    int code = adit_map_put(&t->by_pid, pid_key(&p->pid), p);
    if (code != ADIT_OK)
        return code;
    p->serial = ++t->last_serial;
    net_deadline_init(&p->retention, &t->envd->net, on_retention_due);
    adit_list_push(&t->live, &p->node);
    t->live_cnt++;
    return ADIT_OK;
}

static void tell_idle(struct process_table *t)
{
    void (*on_idle)(void *) = t->on_idle;
    if (t->live_cnt > 0 || !on_idle)
        return;
    t->on_idle = NULL;
    on_idle(t->idle_owner);
}

void process_table_when_idle(struct process_table *t, void (*on_idle)(void *owner), void *owner)
{
    t->on_idle = on_idle;
    t->idle_owner = owner;
    tell_idle(t);
}

void process_table_retain(struct process *p)
{
    struct process_table *t = p->table;
    adit_list_remove(&p->node);
    t->live_cnt--;
    protobuf_c_message_free_unpacked(&p->config->base, NULL);
    p->config = NULL;
    if (t->retained_cnt == PROCESS_TABLE_RETAINED_MAX)
        forget_retained(process_of(adit_list_first(&t->retained)));
    adit_list_push(&t->retained, &p->node);
    t->retained_cnt++;
    net_deadline_arm(&p->retention, PROCESS_TABLE_RETENTION_MS);
    tell_idle(t);
}

/* The one that came last: a tag may be used again. */
static struct process *find_tag(struct adit_list *list, const char *tag)
{
    for (struct adit_list *it = list->prev; it != list; it = it->prev) {
        struct process *p = process_of(it);
        if (p->tag && strcmp(p->tag, tag) == 0)
            return p;
    }
    return NULL;
}

static struct process *find_pid(struct process_table *t, uint32_t number, bool retained)
{
    pid_t pid = (pid_t)number;
    struct process *p = adit_map_get(&t->by_pid, pid_key(&pid));
    return p && (retained || p->state != PROCESS_ENDED) ? p : NULL;
}

int process_table_find(struct process_table *t, const Process__ProcessSelector *selector,
                       bool retained, struct process **out, struct adit_err *err)
{
    process_table_reap(t);
    switch (selector ? selector->selector_case : PROCESS__PROCESS_SELECTOR__SELECTOR__NOT_SET) {
    case PROCESS__PROCESS_SELECTOR__SELECTOR_PID:
        *out = find_pid(t, selector->pid, retained);
        return *out ? ADIT_OK
                    : adit_err_set(err, ADIT_ERR_NOT_FOUND, "process with pid %u not found",
                                   selector->pid);
    case PROCESS__PROCESS_SELECTOR__SELECTOR_TAG:
        *out = find_tag(&t->live, selector->tag);
        if (!*out && retained)
            *out = find_tag(&t->retained, selector->tag);
        return *out ? ADIT_OK
                    : adit_err_set(err, ADIT_ERR_NOT_FOUND, "process with tag %s not found",
                                   selector->tag);
    default:
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "invalid process selector");
    }
}
