/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measuring a running sandbox.
 *
 * Theory of operation
 *
 * States: waiting ── due ──> measuring (the host) ──> asking ── answer, failure or SAMPLER_CALL_MS
 * ──> waiting. Each sandbox is asked at its own times, which its start spreads over the interval;
 * when SAMPLER_CALLS_MAX are asked at once, the others wait. The connection is not kept: a sandbox
 * costs no descriptor between two samples. Trust: the answer is the guest's; status, length and
 * every figure are checked, and the time of a sample is ours. A guest that does not answer has a
 * gap in its samples, nothing else. Failure: a sample that cannot be written is counted and lost;
 * the newest is in memory anyway.
 */
#include "broker/node/sampler.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "broker/node/sample_file.h"
#include "net/http_write.h"

#define NS_PER_MS 1000000

static void on_due(struct net_deadline *d);

void sampler_init(struct sampler *m, struct net_loop *loop, struct sampler_stats *stats,
                  int sandboxes_fd, const char *sandbox_id)
{
    memset(m, 0, sizeof(*m));
    m->loop = loop;
    m->stats = stats;
    m->sandboxes_fd = sandboxes_fd;
    m->sandbox_id = sandbox_id;
    net_deadline_init(&m->due, loop, on_due);
    adit_buf_init(&m->head, HTTP_HEAD_CAP);
    adit_buf_init(&m->body, SAMPLE_TEXT_CAP);
}

static void wait_for_next(struct sampler *m)
{
    m->stats->calls--;
    m->call = NULL;
    adit_buf_clear(&m->body);
    net_deadline_arm(&m->due, SAMPLE_INTERVAL_MS);
}

static void on_appended(void *user, const struct adit_err *err)
{
    struct sampler_stats *stats = user;
    stats->not_written += err != NULL;
}

/* Of all processors that it was given, since the usage before. */
static void correct_cpu(struct sampler *m, struct sample *s)
{
    uint64_t now = adit_clock_mono_ns(), before = m->cpu_at_ns;
    uint64_t used = m->usage.cpu_ns > m->cpu_ns ? m->usage.cpu_ns - m->cpu_ns : 0;
    m->cpu_ns = m->usage.cpu_ns;
    m->cpu_at_ns = now;
    if (!m->usage.cpu_ns)
        return;
    double share = before && now > before
                       ? (double)used / ((double)(now - before) * (double)m->host.cpu_cnt)
                       : 0;
    s->cpu_centi_pct = (uint32_t)(share < 1 ? share * 10000 + 0.5 : 10000);
}

/* In place of what a container sees: the host's memory and processors. */
static void correct(struct sampler *m, struct sample *s)
{
    const struct vmm_usage *u = &m->usage;
    if (!m->has_usage)
        return;
    s->cpu_cnt = m->host.cpu_cnt < s->cpu_cnt ? m->host.cpu_cnt : s->cpu_cnt;
    if (u->memory_max && u->memory_max < s->mem_total)
        s->mem_total = u->memory_max;
    s->mem_cache = u->cache;
    s->mem_used = u->memory > u->cache ? u->memory - u->cache : 0;
    if (s->mem_used > s->mem_total)
        s->mem_used = s->mem_total;
    correct_cpu(m, s);
}

static void keep(struct sampler *m, struct sample *s)
{
    correct(m, s);
    s->at_ms = adit_clock_wall_ns() / NS_PER_MS;
    m->last = *s;
    m->has_last = true;
    m->stats->taken++;
    if (sample_file_append(m->loop->uv, m->sandboxes_fd, m->sandbox_id, s, on_appended, m->stats))
        m->stats->not_written++;
}

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct sampler *m = http_call_user(c);
    if (head->status == 200)
        return;
    http_call_cancel(c);
    m->stats->refused++;
    wait_for_next(m);
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct sampler *m = http_call_user(c);
    if (adit_buf_append_view(&m->body, bytes) == 0)
        return;
    http_call_cancel(c);
    m->stats->refused++;
    wait_for_next(m);
}

static void on_end(struct http_call *c)
{
    struct sampler *m = http_call_user(c);
    struct sample s;
    if (sample_parse(adit_buf_view(&m->body), &s, NULL))
        m->stats->refused++;
    else
        keep(m, &s);
    wait_for_next(m);
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct sampler *m = http_call_user(c);
    (void)err; /* a busy or broken guest: a gap */
    m->stats->failed++;
    wait_for_next(m);
}

static const struct http_call_ops call_ops = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void ask(struct sampler *m)
{
    m->is_measuring = false;
    m->stats->calls++;
    if (http_call_start(m->pool, HTTP_GET, false, adit_buf_view(&m->head), HTTP_BODY_NONE,
                        &call_ops, m, &m->call, NULL)) {
        m->stats->failed++;
        wait_for_next(m);
        return;
    }
    net_deadline_arm(&m->due, SAMPLER_CALL_MS);
}

/* First the host, then the guest; a host that does not answer in time is left out. */
static void begin(struct sampler *m)
{
    bool is_asked = !m->owes_usage && m->host.ask && m->host.ask(m->host.owner);
    m->has_usage = false;
    m->is_measuring = is_asked;
    m->owes_usage |= is_asked;
    if (is_asked)
        net_deadline_arm(&m->due, SAMPLER_CALL_MS);
    else
        ask(m);
}

static void on_due(struct net_deadline *d)
{
    struct sampler *m = ADIT_CONTAINER_OF(d, struct sampler, due);
    if (m->call) {
        http_call_cancel(m->call);
        m->stats->failed++;
        wait_for_next(m);
    } else if (m->stats->calls >= SAMPLER_CALLS_MAX) {
        net_deadline_arm(&m->due, SAMPLER_CROWD_MS);
    } else {
        begin(m);
    }
}

void sampler_on_usage(struct sampler *m, const struct vmm_usage *usage)
{
    m->owes_usage = false;
    if (!m->is_measuring)
        return; /* too late, or stopped */
    m->has_usage = usage != NULL;
    if (usage)
        m->usage = *usage;
    ask(m);
}

static int write_head(struct adit_buf *b, const char *token)
{
    int rc = http_write_request_line(b, adit_view_str("GET"), adit_view_str("/metrics"));
    if (rc == 0)
        rc = http_write_header_str(b, "Host", "localhost");
    if (rc == 0 && token[0])
        rc = http_write_header_str(b, "X-Access-Token", token);
    return rc ? rc : http_write_end(b);
}

int sampler_start(struct sampler *m, const struct http_target *target, const char *token,
                  uint64_t first_ms, struct adit_err *err)
{
    struct http_pool_conf conf = {.target = *target, .dial_ms = SAMPLER_CALL_MS};
    conf.target.port = CHANNEL_PORT_ENVD;
    conf.target.tcp_port = 0;
    adit_buf_clear(&m->head);
    int rc = write_head(&m->head, token);
    if (rc)
        return adit_err_set(err, rc, "write the request of a sampler");
    rc = http_pool_new(m->loop, &conf, &m->pool, err);
    if (rc == 0)
        net_deadline_arm(&m->due, first_ms);
    return rc;
}

int sampler_set_token(struct sampler *m, const char *token)
{
    adit_buf_clear(&m->head);
    return write_head(&m->head, token);
}

void sampler_stop(struct sampler *m)
{
    net_deadline_cancel(&m->due);
    m->is_measuring = false;
    if (m->call) {
        http_call_cancel(m->call);
        m->stats->calls--;
    }
    m->call = NULL;
    if (m->pool)
        http_pool_close(adit_steal(&m->pool));
    adit_buf_fini(&m->head);
    adit_buf_fini(&m->body);
}
