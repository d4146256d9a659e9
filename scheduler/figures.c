/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's figures for Prometheus.
 *
 * Theory of operation
 *
 * Everything is at hand on the one loop, so a scrape is answered at once. The states of nodes are
 * those that placement sees: a draining node that is not heard of counts as unreachable.
 */
#include "scheduler/figures.h"

#include "base/prom.h"
#include "base/version.h"
#include "net/metrics_server.h"

#define NS_PER_S 1e9

#define LABEL(name, value)                                                                         \
    (const struct prom_label[])                                                                    \
    {                                                                                              \
        {name, value},                                                                             \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

static bool is_unreachable(const struct scheduler *s, const struct registry_node *n)
{
    uint64_t age_ms = scheduler_now_ms() - n->heard_ms;
    return age_ms > SCHEDULER_HEARTBEATS_MISSED * s->conf->heartbeat_ms;
}

static void write_nodes(struct prom *p, const struct scheduler *s)
{
    uint64_t ready = 0, draining = 0, unreachable = 0;
    for (size_t i = 0; i < s->registry.node_cnt; i++) {
        const struct registry_node *n = s->registry.nodes[i];
        bool is_lost = is_unreachable(s, n);
        bool is_draining =
            n->is_drained || n->info->state == SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
        unreachable += is_lost;
        draining += !is_lost && is_draining;
        ready += !is_lost && !is_draining;
    }
    prom_family(p, "adit_scheduler_nodes", "gauge", "Nodes by state.");
    prom_u64(p, LABEL("state", "ready"), ready);
    prom_u64(p, LABEL("state", "draining"), draining);
    prom_u64(p, LABEL("state", "unreachable"), unreachable);
}

static void write_placements(struct prom *p, const struct placement_counters *c)
{
    static const char *const filters[PLACEMENT_VERDICT_CNT] = {
        [PLACEMENT_UNREACHABLE] = "unreachable",
        [PLACEMENT_DRAINING] = "draining",
        [PLACEMENT_INCOMPATIBLE] = "incompatible",
        [PLACEMENT_FULL] = "full",
    };
    prom_counter(p, "adit_scheduler_placements_total", "Sandboxes that got a node.", c->placed);
    prom_family(p, "adit_scheduler_placements_refused_total", "counter",
                "Sandboxes that got none, while some node fell to this filter.");
    for (size_t i = 0; i < PLACEMENT_VERDICT_CNT; i++)
        if (filters[i])
            prom_u64(p, LABEL("filter", filters[i]), c->refused[i]);
}

static void write_store(struct prom *p, const struct store_stats *w)
{
    prom_family(p, "adit_scheduler_store_writes_total", "counter", "Writes by result.");
    prom_u64(p, LABEL("result", "ok"), w->committed);
    prom_u64(p, LABEL("result", "failed"), w->failed);
    prom_gauge(p, "adit_scheduler_store_writes_pending", "Writes that wait for the disk.",
               (double)w->pending);
    prom_family(p, "adit_scheduler_store_write_duration_seconds", "histogram",
                "From a write to its answer.");
    prom_histogram(p, NULL, store_bounds, w->buckets, STORE_BUCKET_CNT - 1,
                   (double)w->sum_ns / NS_PER_S);
}

static void write_all(struct prom *p, const struct scheduler *s)
{
    prom_process(p, "adit_scheduler_build_info", ADIT_VERSION);
    write_nodes(p, s);
    prom_gauge(p, "adit_scheduler_sandboxes", "Sandboxes on record, claims among them.",
               (double)s->registry.sandbox_cnt);
    prom_gauge(p, "adit_scheduler_keys", "API keys.", (double)s->keys.by_id.len);
    prom_gauge(p, "adit_scheduler_templates", "Templates.", (double)s->templates.by_id.len);
    prom_gauge(p, "adit_scheduler_connections", "Connections of brokers.",
               s->http ? (double)http_server_connection_cnt(s->http) : 0);
    write_placements(p, &s->counters);
    write_store(p, &s->store->stats);
}

static void on_ask(void *owner)
{
    struct scheduler *s = owner;
    struct adit_buf text;
    struct prom p;
    adit_buf_init(&text, METRICS_SERVER_TEXT_CAP);
    prom_init(&p, &text);
    write_all(&p, s);
    metrics_server_answer(s->metrics, p.rc ? (struct adit_view){NULL, 0} : adit_buf_view(&text));
    adit_buf_fini(&text);
}

int figures_open(struct scheduler *s, struct adit_err *err)
{
    if (!s->conf->metrics_listen[0])
        return 0;
    return metrics_server_open(&s->net, s->conf->metrics_listen, on_ask, s, &s->metrics, err);
}
