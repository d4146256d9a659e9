/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to a monitor's API.
 *
 * Theory of operation
 *
 *   step 0 ── PUT, 2xx ──> step 1 ── … ──> done
 *     └── anything else, deadline ──> failed
 *
 * What:  Firecracker and Cloud Hypervisor are configured and started by a few PUT requests with
 *        JSON. One connection, one request at a time, in order: a monitor that was refused one is
 * of no use, and the sandbox is removed. Trust: the monitor is one step from the guest. Of its
 * answers the status counts; of a refusal the words are shown, cut and printable. Limits: the plan,
 * a document, an answer, the time of all together; see the header. Ownership: an object owns itself
 * until it calls back or is cancelled; it goes when its pool does.
 */
#include "broker/vmm/vmm_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "broker/jtext.h"
#include "net/http_client.h"
#include "net/http_write.h"

#define HEAD_CAP 512
#define WORDS_CAP 200

struct vmm_api {
    struct vmm_api_plan plan;
    size_t at;
    unsigned status;
    struct http_pool *pool;
    struct http_call *call; /* NULL between two */
    struct net_deadline deadline;
    struct adit_buf body, answer;
    size_t sent;
    vmm_api_done_fn on_done;
    void *user;
};

int vmm_api_add(struct vmm_api_plan *plan, const char *path, json_t *take_body, bool has_body,
                struct adit_err *err)
{
    struct vmm_api_step *s = &plan->steps[plan->cnt];
    if (has_body && !take_body)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the monitor's orders");
    if (plan->cnt == VMM_API_STEPS_MAX || strlen(path) >= sizeof(s->path)) {
        json_decref(take_body);
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many orders for a monitor");
    }
    (void)snprintf(s->path, sizeof(s->path), "%s", path);
    s->body = take_body;
    plan->cnt++;
    return 0;
}

void vmm_api_plan_fini(struct vmm_api_plan *plan)
{
    while (plan->cnt > 0)
        json_decref(plan->steps[--plan->cnt].body);
}

void vmm_api_cancel(struct vmm_api *a)
{
    if (a->call)
        http_call_cancel(a->call);
    net_deadline_cancel(&a->deadline);
    http_pool_close(a->pool);
    vmm_api_plan_fini(&a->plan);
    adit_buf_fini(&a->body);
    adit_buf_fini(&a->answer);
    free(a);
}

static void finish(struct vmm_api *a, const struct adit_err *err)
{
    vmm_api_done_fn on_done = a->on_done;
    void *user = a->user;
    struct adit_err told = err ? *err : (struct adit_err)ADIT_ERR_INIT;
    vmm_api_cancel(a);
    on_done(user, err ? &told : NULL);
}

static const struct vmm_api_step *step(const struct vmm_api *a)
{
    return &a->plan.steps[a->at];
}

/* Firecracker says {"fault_message": "…"}, Cloud Hypervisor a text or a list of texts. */
static void refused(struct vmm_api *a)
{
    char words[WORDS_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view text = adit_buf_view(&a->answer);
    json_t *doc = adit_json_load(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *fault = json_object_get(doc, "fault_message");
    if (json_is_string(fault))
        text = (struct adit_view){json_string_value(fault), json_string_length(fault)};
    size_t len = text.len < sizeof(words) - 1 ? text.len : sizeof(words) - 1;
    for (size_t i = 0; i < len; i++)
        words[i] = text.ptr[i] >= ' ' && text.ptr[i] < 0x7f ? text.ptr[i] : ' ';
    words[len] = '\0';
    json_decref(doc);
    (void)adit_err_set(&err, ADIT_ERR_IO, "the monitor refused %s with status %u: %s",
                       step(a)->path, a->status, words);
    finish(a, &err);
}

static void begin(struct vmm_api *a);

/* ---- one call ---- */

static void send_body(struct vmm_api *a)
{
    struct adit_view rest = adit_buf_view(&a->body);
    if (a->sent == rest.len || http_call_is_congested(a->call))
        return;
    a->sent = rest.len; /* less than a call queues */
    if (http_call_write_body(a->call, rest) == 0)
        http_call_end_body(a->call);
}

static void on_drain(struct http_call *c)
{
    send_body(http_call_user(c));
}

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct vmm_api *a = http_call_user(c);
    a->status = head->status;
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct vmm_api *a = http_call_user(c);
    size_t room = a->answer.max - a->answer.len;
    if (bytes.len > room)
        bytes.len = room;
    if (adit_buf_append_view(&a->answer, bytes) == 0 && bytes.len < room)
        return;
    a->call = NULL; /* what more it says is of no use */
    http_call_cancel(c);
    refused(a);
}

static void on_end(struct http_call *c)
{
    struct vmm_api *a = http_call_user(c);
    (void)c;
    a->call = NULL;
    if (a->status < 200 || a->status > 299)
        refused(a);
    else if (++a->at == a->plan.cnt)
        finish(a, NULL);
    else
        begin(a);
}

static void on_fail(struct http_call *c, const struct adit_err *why)
{
    struct vmm_api *a = http_call_user(c);
    struct adit_err err = *why;
    (void)c;
    a->call = NULL;
    adit_err_wrap(&err, "the monitor's answer to %s", step(a)->path);
    finish(a, &err);
}

static int write_head(const struct vmm_api *a, struct adit_buf *head)
{
    int rc = http_write_request_line(head, adit_view_str("PUT"), adit_view_str(step(a)->path));
    if (rc == 0)
        rc = http_write_header_str(head, "Host", "localhost");
    if (rc == 0 && a->body.len)
        rc = http_write_header_str(head, "Content-Type", "application/json");
    if (rc == 0)
        rc = http_write_header_u64(head, "Content-Length", a->body.len);
    return rc ? rc : http_write_end(head);
}

static int start_call(struct vmm_api *a, struct adit_err *err)
{
    static const struct http_call_ops ops = {on_head, on_body, on_end, on_drain, on_fail};
    struct adit_buf head;
    adit_buf_init(&head, HEAD_CAP);
    adit_buf_clear(&a->body);
    adit_buf_clear(&a->answer);
    a->sent = 0;
    int rc = step(a)->body ? jtext_append(&a->body, step(a)->body) : 0;
    if (rc == 0)
        rc = write_head(a, &head);
    if (rc)
        (void)adit_err_set(err, rc, "write an order to the monitor");
    else
        rc = http_call_start(a->pool, HTTP_PUT, false, adit_buf_view(&head),
                             a->body.len ? HTTP_BODY_LENGTH : HTTP_BODY_NONE, &ops, a, &a->call,
                             err);
    adit_buf_fini(&head);
    return rc;
}

static void on_deadline(struct net_deadline *d)
{
    struct vmm_api *a = ADIT_CONTAINER_OF(d, struct vmm_api, deadline);
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the monitor did not answer %s in time",
                       step(a)->path);
    finish(a, &err);
}

static void begin(struct vmm_api *a)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (start_call(a, &err))
        finish(a, &err);
    else if (a->body.len)
        send_body(a);
}

int vmm_api_start(struct net_loop *loop, const char *path, struct vmm_api_plan *take_plan,
                  uint64_t ms, vmm_api_done_fn on_done, void *user, struct vmm_api **out,
                  struct adit_err *err)
{
    struct http_pool_conf conf = {
        .target = {.kind = HTTP_TARGET_UNIX}, .dial_ms = ms, .idle_ms = ms, .idle_max = 1};
    struct vmm_api *a = calloc(1, sizeof(*a));
    if (!a || strlen(path) >= sizeof(conf.target.path)) {
        vmm_api_plan_fini(take_plan);
        free(a);
        return adit_err_set(err, a ? ADIT_ERR_BAD_INPUT : ADIT_ERR_NO_MEMORY,
                            "cannot give orders to the monitor");
    }
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "%s", path);
    a->plan = *take_plan;
    memset(take_plan, 0, sizeof(*take_plan));
    a->on_done = on_done;
    a->user = user;
    adit_buf_init(&a->body, VMM_API_BODY_CAP);
    adit_buf_init(&a->answer, VMM_API_ANSWER_CAP);
    net_deadline_init(&a->deadline, loop, on_deadline);
    int rc = http_pool_new(loop, &conf, &a->pool, err);
    if (rc == 0 && (rc = start_call(a, err)))
        http_pool_close(a->pool);
    if (rc) {
        vmm_api_plan_fini(&a->plan);
        adit_buf_fini(&a->body);
        free(a);
        return rc;
    }
    net_deadline_arm(&a->deadline, ms);
    if (a->body.len)
        send_body(a);
    *out = a;
    return 0;
}
