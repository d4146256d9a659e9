/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's figures for Prometheus.
 *
 * Theory of operation
 *
 * What: a scrape asks the relay loops what they counted (edge_collect()), and when the last has
 * answered writes everything on the control loop, where all other counters live.
 * Limits: the samples of one sandbox are a handful, of at most --max-sandboxes sandboxes; nothing
 * else has a label that clients choose.
 * Loop lag: a timer notes by how much it comes late; the largest since the last scrape is told.
 */
#include "broker/exposition.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/prom.h"
#include "base/version.h"
#include "net/metrics_server.h"

#define LAG_PERIOD_MS 250
#define NS_PER_S 1e9
#define NS_PER_MS 1000000u
#define MIB 1048576.0

struct exposition {
    struct broker *broker;                  /* borrowed */
    const struct launcher_client *launcher; /* borrowed */
    struct metrics_server *server;
    struct adit_buf text;
    uv_timer_t beat;
    uint64_t beat_ns, lag_ns;
};

#define LABELS(...)                                                                                \
    (const struct prom_label[])                                                                    \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

/* ---- the edge ---- */

static const char *const kinds[EDGE_STATS_KIND_CNT] = {"api", "envd", "port"};
static const char *const classes[EDGE_STATS_CLASS_CNT] = {"aborted", "1xx", "2xx",
                                                          "3xx",     "4xx", "5xx"};

static void write_edge(struct prom *p, const struct edge_stats *s)
{
    prom_gauge(p, "adit_broker_connections", "Client connections now.", (double)s->connections);
    prom_gauge(p, "adit_broker_channels", "Connections to sandboxes now.", (double)s->channels);
    prom_counter(p, "adit_broker_connections_dropped_total",
                 "Connections closed for want of descriptors.", s->descriptors_dropped);
    prom_family(p, "adit_broker_requests_total", "counter",
                "Requests by what they were for and the class of the answer.");
    for (size_t k = 0; k < EDGE_STATS_KIND_CNT; k++)
        for (size_t c = 0; c < EDGE_STATS_CLASS_CNT; c++)
            prom_u64(p, LABELS({"kind", kinds[k]}, {"class", classes[c]}),
                     s->requests[k].classes[c]);
    prom_family(p, "adit_broker_request_duration_seconds", "histogram",
                "From the head of a request to the head of its answer.");
    for (size_t k = 0; k < EDGE_STATS_KIND_CNT; k++)
        prom_histogram(p, LABELS({"kind", kinds[k]}), edge_stats_bounds, s->requests[k].buckets,
                       EDGE_STATS_BUCKET_CNT - 1, (double)s->requests[k].sum_ns / NS_PER_S);
    prom_family(p, "adit_broker_relayed_bytes_total", "counter",
                "Bodies of requests to sandboxes (up) and of their answers (down).");
    prom_u64(p, LABELS({"direction", "up"}), s->bytes_up);
    prom_u64(p, LABELS({"direction", "down"}), s->bytes_down);
}

/* ---- the node ---- */

static void write_sandboxes(struct prom *p, const struct node *n)
{
    const struct node_stats s = node_stats(n);
    const struct admission *a = node_admission(n);
    prom_family(p, "adit_broker_sandboxes", "gauge", "Sandboxes by where they are in their life.");
    prom_u64(p, LABELS({"state", "creating"}), s.creating);
    prom_u64(p, LABELS({"state", "running"}), s.running);
    prom_u64(p, LABELS({"state", "ending"}), s.ending);
    prom_family(p, "adit_broker_creates_total", "counter",
                "Creations by result: refused ones found no room or no memory.");
    prom_u64(p, LABELS({"result", "ok"}), s.creates_ok);
    prom_u64(p, LABELS({"result", "failed"}), s.creates_failed);
    prom_u64(p, LABELS({"result", "refused"}), s.creates_refused);
    prom_family(p, "adit_broker_ends_total", "counter",
                "Ends of sandboxes: killed by somebody or by time, or failed.");
    prom_u64(p, LABELS({"state", "killed"}), s.ends_killed);
    prom_u64(p, LABELS({"state", "failed"}), s.ends_failed);
    prom_gauge(p, "adit_broker_allocated_cpus", "Processors given out.", (double)a->cpu_used);
    prom_gauge(p, "adit_broker_allocatable_cpus", "Processors that may be given out.",
               (double)a->cpu_cap);
    prom_gauge(p, "adit_broker_allocated_memory_bytes", "Memory given out.",
               (double)a->memory_mb_used * MIB);
    prom_gauge(p, "adit_broker_allocatable_memory_bytes", "Memory that may be given out.",
               (double)a->memory_mb_cap * MIB);
}

static const struct {
    const char *name, *help;
    size_t at;
} warm_counters[] = {
    {"adit_broker_warm_claims_total", "Creates that took a sandbox of the warm pool.",
     offsetof(struct warm_pool_figures, claims)},
    {"adit_broker_warm_misses_total", "Creates that found it empty.",
     offsetof(struct warm_pool_figures, misses)},
    {"adit_broker_warm_boots_total", "Boots that were begun for it.",
     offsetof(struct warm_pool_figures, boots)},
    {"adit_broker_warm_failures_total",
     "Of these, what did not come up, or ended by itself while it waited.",
     offsetof(struct warm_pool_figures, failures)},
};

static void write_warm(struct prom *p, const struct warm_pool *pool)
{
    struct warm_pool_figures f;
    prom_family(p, "adit_broker_warm_sandboxes", "gauge",
                "Sandboxes of the warm pool that wait, are booted, and are to wait.");
    for (size_t i = 0; warm_pool_measure(pool, i, &f); i++) {
        prom_u64(p, LABELS({"template", f.ref}, {"isolation", f.isolation}, {"state", "ready"}),
                 f.ready);
        prom_u64(p, LABELS({"template", f.ref}, {"isolation", f.isolation}, {"state", "booting"}),
                 f.booting);
        prom_u64(p, LABELS({"template", f.ref}, {"isolation", f.isolation}, {"state", "wanted"}),
                 f.wanted);
    }
    for (size_t k = 0; k < sizeof(warm_counters) / sizeof(warm_counters[0]); k++) {
        prom_family(p, warm_counters[k].name, "counter", warm_counters[k].help);
        for (size_t i = 0; warm_pool_measure(pool, i, &f); i++) {
            uint64_t value;
            memcpy(&value, (const char *)&f + warm_counters[k].at, sizeof(value));
            prom_u64(p, LABELS({"template", f.ref}, {"isolation", f.isolation}), value);
        }
    }
}

static void write_history(struct prom *p, const struct node *n)
{
    const struct sampler_stats *m = node_sampling(n);
    const struct journal_stats *j = journal_stats(node_journal(n));
    prom_family(p, "adit_broker_samples_total", "counter", "Measurements of sandboxes by result.");
    prom_u64(p, LABELS({"result", "taken"}), m->taken);
    prom_u64(p, LABELS({"result", "failed"}), m->failed);
    prom_u64(p, LABELS({"result", "refused"}), m->refused);
    prom_u64(p, LABELS({"result", "not_written"}), m->not_written);
    prom_counter(p, "adit_broker_sandbox_log_lines_total", "Lines taken into logs of sandboxes.",
                 j->lines);
    prom_counter(p, "adit_broker_sandbox_log_lines_dropped_total",
                 "Lines of sandboxes that were too many.", j->dropped);
    prom_counter(p, "adit_broker_sandbox_log_write_failures_total",
                 "Writes of logs that the disk refused.", j->failed_writes);
    prom_gauge(p, "adit_broker_sandbox_log_bytes", "Disk space of logs at the last sweep.",
               (double)j->bytes_on_disk);
}

static void write_egress(struct prom *p, const struct egress *e)
{
    static const struct {
        enum egress_count count;
        const char *result;
    } ends[] = {
        {EGRESS_COUNT_CONNECTED, "connected"}, {EGRESS_COUNT_PROHIBITED, "prohibited"},
        {EGRESS_COUNT_REFUSED, "refused"},     {EGRESS_COUNT_UNREACHABLE, "unreachable"},
        {EGRESS_COUNT_TIMED_OUT, "timed_out"}, {EGRESS_COUNT_BUSY, "busy"},
        {EGRESS_COUNT_CANCELED, "canceled"},   {EGRESS_COUNT_INSECURE, "insecure"},
    };
    struct egress_stats s;
    egress_measure(e, &s);
    prom_family(p, "adit_broker_egress_dials_total", "counter",
                "Connections that sandboxes asked for, by result.");
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        prom_u64(p, LABELS({"result", ends[i].result}), s.at[ends[i].count]);
    prom_family(p, "adit_broker_egress_ends_total", "counter",
                "Ends of their connections: closed by both sides, or broken.");
    prom_u64(p, LABELS({"how", "closed"}), s.at[EGRESS_COUNT_CLOSED]);
    prom_u64(p, LABELS({"how", "broken"}), s.at[EGRESS_COUNT_BROKEN]);
    prom_family(p, "adit_broker_egress_lookups_total", "counter",
                "Names that sandboxes asked for: asked of a server, refused by their rules, or too "
                "many.");
    prom_u64(p, LABELS({"result", "asked"}), s.at[EGRESS_COUNT_LOOKUPS]);
    prom_u64(p, LABELS({"result", "refused"}), s.at[EGRESS_COUNT_LOOKUPS_REFUSED]);
    prom_u64(p, LABELS({"result", "busy"}), s.at[EGRESS_COUNT_LOOKUPS_BUSY]);
    prom_counter(p, "adit_broker_egress_channels_lost_total", "Control channels that were lost.",
                 s.at[EGRESS_COUNT_CHANNELS_LOST]);
    prom_counter(p, "adit_broker_egress_rules_broken_total",
                 "Those of them whose guest broke a rule.", s.at[EGRESS_COUNT_RULES_BROKEN]);
    prom_family(p, "adit_broker_egress_bytes_total", "counter",
                "Bytes that sandboxes sent outside and received from there.");
    prom_u64(p, LABELS({"direction", "out"}), s.at[EGRESS_COUNT_BYTES_OUT]);
    prom_u64(p, LABELS({"direction", "in"}), s.at[EGRESS_COUNT_BYTES_IN]);
    prom_gauge(p, "adit_broker_egress_connections", "Connections of sandboxes now.",
               (double)s.at[EGRESS_COUNT_DIALS]);
    prom_gauge(p, "adit_broker_egress_channels", "Sandboxes whose control channel is open.",
               (double)s.at[EGRESS_COUNT_CHANNELS]);
}

/* ---- each sandbox ---- */

static unsigned active_of(const char *id, const struct edge_use *uses, size_t use_cnt)
{
    for (size_t i = 0; i < use_cnt; i++)
        if (strcmp(uses[i].sandbox_id, id) == 0)
            return uses[i].active;
    return 0;
}

enum figure { FIGURE_CPU, FIGURE_MEMORY, FIGURE_MEMORY_TOTAL, FIGURE_DISK, FIGURE_CNT };

static double figure_of(const struct sample *s, enum figure f)
{
    switch (f) {
    case FIGURE_CPU:
        return (double)s->cpu_centi_pct / 10000;
    case FIGURE_MEMORY:
        return (double)s->mem_used;
    case FIGURE_MEMORY_TOTAL:
        return (double)s->mem_total;
    case FIGURE_DISK:
    case FIGURE_CNT:
    default:
        return (double)s->disk_used;
    }
}

static void write_figure(struct prom *p, const struct node *n, enum figure f)
{
    size_t pos = 0;
    const struct sandbox *s;
    while ((s = node_next_any(n, &pos))) {
        const struct record *r = node_record(s);
        const struct sample *newest = node_last_sample(s);
        if (newest)
            prom_real(p, LABELS({"sandbox_id", r->sandbox_id}, {"template", r->template_id}),
                      figure_of(newest, f));
    }
}

static void write_traffic(struct prom *p, const struct node *n)
{
    static const char *const directions[] = {[EGRESS_OUT] = "out", [EGRESS_IN] = "in"};
    size_t pos = 0;
    const struct sandbox *s;
    prom_family(p, "adit_sandbox_egress_bytes_total", "counter",
                "Bytes that it sent outside and received from there.");
    while ((s = node_next_any(n, &pos))) {
        const struct record *r = node_record(s);
        const struct egress_sandbox *e = node_egress(s);
        for (int d = EGRESS_OUT; e && d < EGRESS_DIRECTION_CNT; d++)
            prom_u64(p,
                     LABELS({"sandbox_id", r->sandbox_id}, {"template", r->template_id},
                            {"direction", directions[d]}),
                     egress_bytes(e, (enum egress_direction)d));
    }
}

static void write_each(struct prom *p, const struct node *n, const struct edge_use *uses,
                       size_t use_cnt)
{
    static const struct {
        const char *name, *help;
    } families[FIGURE_CNT] = {
        {"adit_sandbox_cpu_usage_ratio", "Share of its processors in use, 0 to 1."},
        {"adit_sandbox_memory_used_bytes", "Memory in use."},
        {"adit_sandbox_memory_total_bytes", "Memory there is."},
        {"adit_sandbox_disk_used_bytes", "Disk space in use."},
    };
    size_t pos = 0;
    const struct sandbox *s;
    for (unsigned f = 0; f < FIGURE_CNT; f++) {
        prom_family(p, families[f].name, "gauge", families[f].help);
        write_figure(p, n, (enum figure)f);
    }
    write_traffic(p, n);
    prom_family(p, "adit_sandbox_requests", "gauge", "Requests to it that run now.");
    while ((s = node_next_any(n, &pos))) {
        const struct record *r = node_record(s);
        prom_u64(p, LABELS({"sandbox_id", r->sandbox_id}, {"template", r->template_id}),
                 active_of(r->sandbox_id, uses, use_cnt));
    }
}

/* ---- the rest ---- */

static void write_own(struct prom *p, struct exposition *e)
{
    const struct broker_counters *c = &e->broker->counters;
    const struct launcher_client_stats l = launcher_client_stats(e->launcher);
    prom_process(p, "adit_broker_build_info", ADIT_VERSION);
    prom_gauge(p, "adit_broker_control_loop_lag_seconds",
               "Largest delay of the control loop since the last scrape.",
               (double)e->lag_ns / NS_PER_S);
    e->lag_ns = 0;
    prom_family(p, "adit_broker_api_refusals_total", "counter",
                "Control requests refused for what they asked for.");
    prom_u64(p, LABELS({"reason", "unknown_path"}), c->unknown_path);
    prom_u64(p, LABELS({"reason", "unknown_method"}), c->unknown_method);
    prom_u64(p, LABELS({"reason", "unauthenticated"}), c->unauthenticated);
    prom_u64(p, LABELS({"reason", "unavailable_feature"}), c->unavailable_feature);
    prom_family(p, "adit_broker_launcher_requests_total", "counter",
                "Requests to the process that makes containers.");
    prom_u64(p, LABELS({"result", "ok"}), l.answered);
    prom_u64(p, LABELS({"result", "failed"}), l.failed);
    prom_gauge(p, "adit_broker_launcher_requests_pending", "Those not answered yet.",
               (double)l.pending);
}

static void on_collected(void *user, const struct edge_stats *sum, const struct edge_use *uses,
                         size_t use_cnt)
{
    struct exposition *e = user;
    struct prom p;
    adit_buf_clear(&e->text);
    prom_init(&p, &e->text);
    write_own(&p, e);
    write_edge(&p, sum);
    write_sandboxes(&p, e->broker->node);
    write_warm(&p, e->broker->warm_pool);
    write_history(&p, e->broker->node);
    write_egress(&p, e->broker->egress);
    write_each(&p, e->broker->node, uses, use_cnt);
    metrics_server_answer(e->server, p.rc ? (struct adit_view){NULL, 0} : adit_buf_view(&e->text));
    adit_buf_clear(&e->text);
}

static void on_ask(void *owner)
{
    struct exposition *e = owner;
    if (edge_collect(e->broker->edge, on_collected, e))
        metrics_server_answer(e->server, (struct adit_view){NULL, 0});
}

static void on_beat(uv_timer_t *t)
{
    struct exposition *e = t->data;
    uint64_t now = uv_hrtime(), due = e->beat_ns + (uint64_t)LAG_PERIOD_MS * NS_PER_MS;
    if (now > due && now - due > e->lag_ns)
        e->lag_ns = now - due;
    e->beat_ns = now;
}

int exposition_open(struct broker *b, const struct launcher_client *launcher,
                    struct exposition **out, struct adit_err *err)
{
    *out = NULL;
    if (!b->conf.metrics_listen[0])
        return 0;
    struct exposition *e = calloc(1, sizeof(*e));
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for figures");
    e->broker = b;
    e->launcher = launcher;
    adit_buf_init(&e->text, METRICS_SERVER_TEXT_CAP);
    int rc = metrics_server_open(&b->net, b->conf.metrics_listen, on_ask, e, &e->server, err);
    if (rc) {
        free(e);
        return rc;
    }
    (void)uv_timer_init(&b->uv, &e->beat); /* always 0 */
    e->beat.data = e;
    e->beat_ns = uv_hrtime();
    (void)uv_timer_start(&e->beat, on_beat, LAG_PERIOD_MS, LAG_PERIOD_MS); /* not closing */
    *out = e;
    return 0;
}

void exposition_close(struct exposition *e)
{
    if (!e)
        return;
    metrics_server_close(e->server);
    uv_close((uv_handle_t *)&e->beat, NULL);
}

void exposition_free(struct exposition *e)
{
    if (!e)
        return;
    adit_buf_fini(&e->text);
    free(e);
}
