/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay loop counts. */
#include "broker/edge/edge_stats.h"

#define NS_PER_S 1e9

const double edge_stats_bounds[EDGE_STATS_BUCKET_CNT - 1] = {0.001, 0.005, 0.02, 0.1,
                                                             0.5,   2,     10,   60};

void edge_stats_count(struct edge_stats *s, enum edge_stats_kind kind, unsigned status,
                      uint64_t duration_ns)
{
    struct edge_stats_requests *r = &s->requests[kind];
    unsigned class = status / 100;
    unsigned bucket = 0;

    r->classes[class < EDGE_STATS_CLASS_CNT ? class : EDGE_STATS_ABORTED]++;
    if (status == 0)
        return;
    while (bucket < EDGE_STATS_BUCKET_CNT - 1 &&
           (double)duration_ns > edge_stats_bounds[bucket] * NS_PER_S)
        bucket++;
    r->buckets[bucket]++;
    r->sum_ns += duration_ns;
}

static void add_requests(struct edge_stats_requests *sum, const struct edge_stats_requests *r)
{
    for (unsigned i = 0; i < EDGE_STATS_CLASS_CNT; i++)
        sum->classes[i] += r->classes[i];
    for (unsigned i = 0; i < EDGE_STATS_BUCKET_CNT; i++)
        sum->buckets[i] += r->buckets[i];
    sum->sum_ns += r->sum_ns;
}

void edge_stats_add(struct edge_stats *sum, const struct edge_stats *s)
{
    for (unsigned i = 0; i < EDGE_STATS_KIND_CNT; i++)
        add_requests(&sum->requests[i], &s->requests[i]);
    sum->bytes_up += s->bytes_up;
    sum->bytes_down += s->bytes_down;
    sum->connections += s->connections;
    sum->channels += s->channels;
    sum->descriptors_dropped += s->descriptors_dropped;
}
