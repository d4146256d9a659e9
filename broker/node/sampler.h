/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring one running sandbox every SAMPLE_INTERVAL_MS, by asking its envd. */
#ifndef BROKER_NODE_SAMPLER_H
#define BROKER_NODE_SAMPLER_H

#include "broker/node/sample.h"
#include "broker/vmm/vmm.h"
#include "net/http_client.h"

/* The first sample of a new sandbox. */
#define SAMPLER_FIRST_MS 1000
#define SAMPLER_CALL_MS 2000
/* Sandboxes asked at once, and how long others wait then before they look again. */
#define SAMPLER_CALLS_MAX 32
#define SAMPLER_CROWD_MS 100

/* Of all samplers of a node. @calls: running now; the rest only grows. */
struct sampler_stats {
    size_t calls;
    uint64_t taken, failed, refused, not_written;
};

/*
 * What the host knows better than the guest: in a container the guest sees the host's figures.
 *
 * @ask:     NULL, or: have sampler_on_usage() called; not before it returns. Return: false when
 * that cannot be
 * @cpu_cnt: processors that the sandbox was given
 */
struct sampler_host {
    bool (*ask)(void *owner);
    void *owner;
    uint32_t cpu_cnt;
};

/*
 * Embedded in its sandbox.
 *
 * @is_measuring: the host was asked, and the guest will be
 * @owes_usage:   the host was asked and has not answered: one question at a time, so that a host
 *                that stands still gathers no more than that
 * @usage:        what it answered, for the sample under way, if @has_usage
 * @cpu_ns, @cpu_at_ns: of the usage before, and when that was
 * @due:  the next sample; while @call runs, its deadline
 * @pool: NULL while it does not run
 * @last: the newest, if @has_last
 */
struct sampler {
    struct sampler_host host;
    struct net_loop *loop;       /* borrowed */
    struct sampler_stats *stats; /* borrowed */
    struct net_deadline due;
    struct http_pool *pool;
    struct http_call *call;
    struct adit_buf head, body;
    int sandboxes_fd;
    const char *sandbox_id; /* borrowed */
    struct sample last;
    bool has_last, is_measuring, owes_usage, has_usage;
    struct vmm_usage usage;
    uint64_t cpu_ns, cpu_at_ns;
};

void sampler_init(struct sampler *m, struct net_loop *loop, struct sampler_stats *stats,
                  int sandboxes_fd, const char *sandbox_id);
/* The host's answer, or NULL when it has none. */
void sampler_on_usage(struct sampler *m, const struct vmm_usage *usage);
/* Begin, with a first sample @first_ms from now. @token: envd's, or "". Errors: LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int sampler_start(struct sampler *m, const struct http_target *target,
                                  const char *token, uint64_t first_ms, struct adit_err *err);
/* The token has changed; from the next sample on. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int sampler_set_token(struct sampler *m, const char *token);
/* Idempotent; also for one that was never started. */
void sampler_stop(struct sampler *m);

#endif
