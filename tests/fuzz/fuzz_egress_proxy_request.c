/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients of the proxies say first. Oracles: the cut does not matter, neither for the step
 * that it ends with nor for where the connection's own bytes begin; a target is a name or an
 * address, with a port; every refusal has an answer that fits.
 */
#include "oracle.h"

#include "envd/egress/egress_proxy_request.h"

struct outcome {
    enum egress_proxy_step step;
    struct egress_proxy_request request;
    size_t unused;
};

static bool is_last(enum egress_proxy_step step)
{
    return step != EGRESS_PROXY_MORE && step != EGRESS_PROXY_GREETED;
}

static void check_refusal(const struct egress_proxy_request *r)
{
    struct adit_buf out;
    adit_buf_init(&out, EGRESS_PROXY_ANSWER_MAX);
    ORACLE(r->refusal > EGRESS_PROXY_CONNECTED && r->refusal < EGRESS_PROXY_OUTCOME_CNT);
    ORACLE(egress_proxy_answer(&out, r->protocol, &r->target, r->refusal) == ADIT_OK);
    adit_buf_fini(&out);
}

static void run(struct outcome *o, struct adit_view in, size_t step)
{
    struct egress_proxy_request *r = &o->request;
    egress_proxy_request_init(r);
    o->step = EGRESS_PROXY_MORE;
    while (!is_last(o->step) && (in.len > 0 || o->step == EGRESS_PROXY_GREETED)) {
        struct adit_view piece = {in.ptr, step < in.len ? step : in.len};
        if (o->step != EGRESS_PROXY_GREETED) {
            ORACLE(egress_proxy_request_feed(r, piece) == ADIT_OK);
            in = adit_view_mem(in.ptr + piece.len, in.len - piece.len);
        }
        o->step = egress_proxy_request_next(r);
    }
    o->unused = r->gathered.len + in.len;
    if (o->step == EGRESS_PROXY_REFUSE)
        check_refusal(r);
    if (o->step == EGRESS_PROXY_CONNECT)
        ORACLE(r->target.port > 0 && control_is_name(adit_view_str(r->target.host)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};
    struct outcome whole, cut;
    if (size > HTTP_HEAD_CAP)
        return 0;
    struct adit_view in = adit_view_mem(data, size);
    run(&whole, in, SIZE_MAX);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        run(&cut, in, steps[i]);
        ORACLE(cut.step == whole.step);
        if (whole.step == EGRESS_PROXY_REFUSE)
            ORACLE(cut.request.refusal == whole.request.refusal);
        if (whole.step == EGRESS_PROXY_CONNECT)
            ORACLE(cut.unused == whole.unused &&
                   cut.request.target.port == whole.request.target.port &&
                   strcmp(cut.request.target.host, whole.request.target.host) == 0);
        egress_proxy_request_fini(&cut.request);
    }
    egress_proxy_request_fini(&whole.request);
    return 0;
}
