/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of name servers; the first byte chooses the type that was asked for. Oracles: what is
 * told keeps the rules of LookupResult, is one chain from the name asked for to its addresses, and
 * says of a missing name nothing else.
 */
#include "oracle.h"

#include "broker/egress/egress_reply.h"

#define NAME "www.example.com"

static void check_answers(const struct egress_resolved *r, unsigned type)
{
    struct adit_view name = ADIT_VIEW(NAME);
    bool has_address = false;
    ORACLE(r->answer_cnt <= EGRESS_REPLY_ANSWERS_MAX);
    for (size_t i = 0; i < r->answer_cnt; i++) {
        const struct egress_answer *a = &r->answers[i];
        ORACLE(adit_view_eq(a->name, name) && a->ttl <= EGRESS_REPLY_TTL_MAX);
        if (a->type == CONTROL_TYPE_CNAME) {
            ORACLE(!has_address && egress_reply_is_name(a->data));
            name = a->data;
            continue;
        }
        has_address = true;
        ORACLE(a->type == type && a->data.len == (type == CONTROL_TYPE_A ? 4 : 16));
    }
    ORACLE(!has_address || (r->rcode == EGRESS_RCODE_OK && r->negative_ttl == 0));
    ORACLE(r->negative_ttl <= EGRESS_REPLY_NEGATIVE_TTL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct egress_reply reply;
    if (size < 1)
        return 0;
    unsigned type = data[0] & 1 ? CONTROL_TYPE_AAAA : CONTROL_TYPE_A;
    egress_reply_read(&reply, adit_view_mem(data + 1, size - 1), adit_view_str(NAME), type);
    const struct egress_resolved *r = &reply.resolved;
    if (r->rcode == EGRESS_RCODE_FAILED || r->rcode == EGRESS_RCODE_REFUSED)
        ORACLE(r->answer_cnt == 0 && r->negative_ttl == 0);
    else
        ORACLE(r->rcode == EGRESS_RCODE_OK || r->rcode == EGRESS_RCODE_NO_NAME);
    check_answers(r, type);
    return 0;
}
