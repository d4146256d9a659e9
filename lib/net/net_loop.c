/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all network objects of one event loop share: scratch buffer, deadlines, tasks.
 *
 * Theory of operation
 *
 * What: a hashed timer wheel. Slot t % NET_DEADLINE_SLOTS holds the deadlines of tick t and of
 * every later round; a tick visits the slots of the ticks that have passed and takes what is due.
 * Arming, re-arming and cancelling are list operations. One repeating uv_timer drives the wheel; it
 * is stopped at the first tick that finds nothing armed.
 *
 * Tasks are a list drained by a uv_idle handle that is active only while the list is not empty (an
 * active idle handle keeps the loop from waiting in the poller).
 *
 * Ownership: deadlines and tasks are embedded in their owners, who cancel them before they die. A
 * callback may arm, post, cancel or free anything, its own object included: what is due is unlinked
 * before it is called, and the lists are always read from their heads.
 *
 * Limits: a deadline is never early and at most two ticks late.
 */
#include "net/net_loop.h"

#include "net/splice.h"

/* Far enough for any wait, near enough for the arithmetic. */
#define DEADLINE_MS_MAX (1ull << 40)

static uint64_t tick_now(const struct net_loop *l)
{
    return uv_now(l->uv) / NET_DEADLINE_TICK_MS;
}

static struct net_deadline *deadline_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct net_deadline, node);
}

static void take_due(struct adit_list *slot, uint64_t now, struct adit_list *due)
{
    struct adit_list *it, *tmp;

    ADIT_LIST_EACH(it, tmp, slot)
    {
        if (deadline_of(it)->due_tick <= now) {
            adit_list_remove(it);
            adit_list_push(due, it);
        }
    }
}

static void fire(struct net_loop *l, struct adit_list *due)
{
    struct adit_list *node;

    while ((node = adit_list_first(due))) {
        struct net_deadline *d = deadline_of(node);
        adit_list_remove(node);
        l->armed_cnt--;
        d->on_due(d);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct net_loop *l = timer->data;
    uint64_t now = tick_now(l);
    uint64_t t = l->current_tick + 1;
    struct adit_list due;

    adit_list_init(&due);
    if (now >= t + NET_DEADLINE_SLOTS)
        t = now - NET_DEADLINE_SLOTS + 1; /* one round visits every slot */
    for (; t <= now; t++)
        take_due(&l->slots[t % NET_DEADLINE_SLOTS], now, &due);
    l->current_tick = now;
    fire(l, &due);
    if (!l->armed_cnt)
        (void)uv_timer_stop(&l->tick); /* cannot fail */
}

static void on_turn(uv_idle_t *idle)
{
    struct net_loop *l = idle->data;
    struct adit_list end_of_turn;
    struct adit_list *node;

    adit_list_push(&l->tasks, &end_of_turn);
    while ((node = adit_list_first(&l->tasks)) != &end_of_turn) {
        struct net_task *t = ADIT_CONTAINER_OF(node, struct net_task, node);
        adit_list_remove(node);
        t->run(t);
    }
    adit_list_remove(&end_of_turn);
    if (adit_list_empty(&l->tasks))
        (void)uv_idle_stop(&l->turn); /* cannot fail */
}

int net_loop_init(struct net_loop *l, uv_loop_t *uv, struct adit_err *err)
{
    int rc;

    l->uv = uv;
    l->current_tick = 0;
    l->armed_cnt = 0;
    l->is_closing = false;
    l->pipe_fds[0] = l->pipe_fds[1] = -1;
    for (size_t i = 0; i < NET_DEADLINE_SLOTS; i++)
        adit_list_init(&l->slots[i]);
    adit_list_init(&l->tasks);
    rc = uv_timer_init(uv, &l->tick);
    if (rc < 0)
        return adit_err_sys(err, -rc, "timer");
    l->tick.data = l;
    (void)uv_idle_init(uv, &l->turn); /* cannot fail */
    l->turn.data = l;
    return ADIT_OK;
}

void net_loop_close(struct net_loop *l)
{
    struct adit_list due;

    l->is_closing = true;
    adit_list_init(&due);
    for (size_t i = 0; i < NET_DEADLINE_SLOTS; i++)
        take_due(&l->slots[i], UINT64_MAX, &due);
    fire(l, &due);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->turn, NULL);
    splice_close(l);
}

void net_deadline_init(struct net_deadline *d, struct net_loop *l,
                       void (*on_due)(struct net_deadline *))
{
    adit_list_init(&d->node);
    d->loop = l;
    d->due_tick = 0;
    d->on_due = on_due;
}

static void wheel_wake(struct net_loop *l)
{
    if (uv_is_active((uv_handle_t *)&l->tick) || l->is_closing)
        return;
    uv_update_time(l->uv); /* the loop may have slept, or never run */
    l->current_tick = tick_now(l);
    (void)uv_timer_start(&l->tick, on_tick, NET_DEADLINE_TICK_MS, NET_DEADLINE_TICK_MS);
}

void net_deadline_arm(struct net_deadline *d, uint64_t ms)
{
    struct net_loop *l = d->loop;

    net_deadline_cancel(d);
    wheel_wake(l);
    if (ms > DEADLINE_MS_MAX)
        ms = DEADLINE_MS_MAX;
    d->due_tick = (uv_now(l->uv) + ms + NET_DEADLINE_TICK_MS - 1) / NET_DEADLINE_TICK_MS;
    if (d->due_tick <= l->current_tick)
        d->due_tick = l->current_tick + 1;
    adit_list_push(&l->slots[d->due_tick % NET_DEADLINE_SLOTS], &d->node);
    l->armed_cnt++;
}

void net_deadline_cancel(struct net_deadline *d)
{
    if (!net_deadline_is_armed(d))
        return;
    adit_list_remove(&d->node);
    d->loop->armed_cnt--;
}

void net_task_init(struct net_task *t, struct net_loop *l, void (*run)(struct net_task *))
{
    adit_list_init(&t->node);
    t->loop = l;
    t->run = run;
}

void net_task_post(struct net_task *t)
{
    struct net_loop *l = t->loop;

    if (!adit_list_empty(&t->node))
        return;
    adit_list_push(&l->tasks, &t->node);
    if (!l->is_closing)
        (void)uv_idle_start(&l->turn, on_turn); /* cannot fail: the callback is not NULL */
}

void net_task_cancel(struct net_task *t)
{
    adit_list_remove(&t->node);
}
