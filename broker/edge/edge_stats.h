/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay loop counts. Belongs to its thread; sums are made by message (edge_collect()). */
#ifndef BROKER_EDGE_EDGE_STATS_H
#define BROKER_EDGE_EDGE_STATS_H

#include <stdint.h>

/* What a request was for. */
enum edge_stats_kind { EDGE_STATS_API, EDGE_STATS_ENVD, EDGE_STATS_PORT, EDGE_STATS_KIND_CNT };

/* 1xx to 5xx, and those that were broken off without an answer. */
#define EDGE_STATS_CLASS_CNT 6
#define EDGE_STATS_ABORTED 0
/* Upper bounds in seconds: edge_stats_bounds; the last bucket has none. */
#define EDGE_STATS_BUCKET_CNT 9

extern const double edge_stats_bounds[EDGE_STATS_BUCKET_CNT - 1];

/* Of one kind. @buckets: not cumulative. Durations: from the head of a request to that of its
 * answer. */
struct edge_stats_requests {
    uint64_t classes[EDGE_STATS_CLASS_CNT];
    uint64_t buckets[EDGE_STATS_BUCKET_CNT];
    uint64_t sum_ns;
};

/* @bytes_up, @bytes_down: bodies of relayed requests and answers, from and to clients
 * @connections, @channels: now; @descriptors_dropped: connections for want of descriptors */
struct edge_stats {
    struct edge_stats_requests requests[EDGE_STATS_KIND_CNT];
    uint64_t bytes_up, bytes_down;
    uint64_t connections, channels, descriptors_dropped;
};

/* @status 0: broken off. */
void edge_stats_count(struct edge_stats *s, enum edge_stats_kind kind, unsigned status,
                      uint64_t duration_ns);
void edge_stats_add(struct edge_stats *sum, const struct edge_stats *s);

#endif
