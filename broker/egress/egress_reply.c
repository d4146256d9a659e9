/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a name server answered.
 *
 * Theory of operation
 *
 * What: the aliases are followed from the name that was asked for; addresses count only under the
 * last of them. So a record of some other name, put into the message by whoever answered, leads
 * nowhere. The C library walks the message (ns_parserr).
 * Limits: RECORDS_MAX records are looked at, once for each alias; EGRESS_REPLY_ALIASES_MAX aliases
 * (a circle has more); EGRESS_REPLY_ANSWERS_MAX answers.
 * Trust: the message comes from a name server, and its content from whoever owns the name. Names
 * other than of letters, digits, hyphens and underscores are not understood.
 * Failure: EGRESS_RCODE_FAILED, with no answers.
 */
#include "broker/egress/egress_reply.h"

#include <limits.h>

#include <arpa/nameser.h>

#define RECORDS_MAX 256
#define ADDRESS_LEN(type) ((type) == CONTROL_TYPE_A ? 4u : 16u)
/* MNAME, RNAME, then five numbers of 32 bits; the last is the negative TTL (RFC 2308 4). */
#define SOA_NUMBERS_LEN 20u
#define TTL_NEGATIVE_BIT 0x80000000u

/* Where the walk is: the message, and the name that it has come to. */
struct walk {
    struct egress_reply *reply;
    ns_msg msg;
    unsigned type;
    struct adit_view name;
    size_t alias_cnt;
};

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

bool egress_reply_is_name(struct adit_view name)
{
    if (!control_is_name(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_plain(name.ptr[i]))
            return false;
    return true;
}

/* Lower case into @out. Return: whether it is a name as we know them. */
static bool take_name(struct adit_view from, char out[CONTROL_NAME_MAX + 1], struct adit_view *name)
{
    if (!egress_reply_is_name(from))
        return false;
    adit_view_lower(from, out);
    out[from.len] = '\0';
    *name = adit_view_mem(out, from.len);
    return true;
}

/* RFC 2181 8: a TTL with its highest bit set is 0. */
static uint32_t bounded(uint32_t ttl, uint32_t max)
{
    if (ttl & TTL_NEGATIVE_BIT)
        return 0;
    return ttl < max ? ttl : max;
}

static bool parse_record(struct walk *w, ns_sect section, int i, ns_rr *rr)
{
    return ns_parserr(&w->msg, section, i, rr) == 0 && ns_rr_class(*rr) == ns_c_in;
}

static int record_cnt(struct walk *w, ns_sect section)
{
    int cnt = ns_msg_count(w->msg, section);
    return cnt < RECORDS_MAX ? cnt : RECORDS_MAX;
}

/* ---- aliases, then addresses ---- */

static struct egress_answer *add(struct walk *w, unsigned type, uint32_t ttl)
{
    struct egress_resolved *out = &w->reply->resolved;
    struct egress_answer *a = &w->reply->answers[out->answer_cnt];
    if (out->answer_cnt == EGRESS_REPLY_ANSWERS_MAX)
        return NULL;
    out->answer_cnt++;
    *a = (struct egress_answer){w->name, type, bounded(ttl, EGRESS_REPLY_TTL_MAX), {NULL, 0}};
    return a;
}

/* An alias of the name that the walk has come to. Errors: PROTOCOL. */
static int follow(struct walk *w, const ns_rr *rr)
{
    char text[NS_MAXDNAME];
    char *store = w->reply->names[w->alias_cnt + 1];
    struct adit_view target;
    if (++w->alias_cnt > EGRESS_REPLY_ALIASES_MAX ||
        ns_name_uncompress(ns_msg_base(w->msg), ns_msg_end(w->msg), ns_rr_rdata(*rr), text,
                           sizeof(text)) < 0 ||
        !take_name(adit_view_str(text), store, &target))
        return ADIT_ERR_PROTOCOL;
    struct egress_answer *a = add(w, CONTROL_TYPE_CNAME, ns_rr_ttl(*rr));
    if (!a)
        return ADIT_ERR_PROTOCOL;
    a->data = w->name = target;
    return ADIT_OK;
}

static bool is_of(const struct walk *w, const ns_rr *rr, unsigned type)
{
    return ns_rr_type(*rr) == type && adit_view_ieq_str(w->name, ns_rr_name(*rr));
}

/* *found: there was one. A record that cannot be parsed spoils the message. */
static int follow_one(struct walk *w, bool *found)
{
    ns_rr rr;
    *found = false;
    for (int i = 0; i < record_cnt(w, ns_s_an) && !*found; i++) {
        if (!parse_record(w, ns_s_an, i, &rr))
            return ADIT_ERR_PROTOCOL;
        *found = is_of(w, &rr, ns_t_cname);
    }
    return *found ? follow(w, &rr) : ADIT_OK;
}

static int take_addresses(struct walk *w)
{
    ns_rr rr;
    size_t len = ADDRESS_LEN(w->type);
    for (int i = 0; i < record_cnt(w, ns_s_an); i++) {
        if (!parse_record(w, ns_s_an, i, &rr))
            return ADIT_ERR_PROTOCOL;
        struct egress_answer *a = NULL;
        if (is_of(w, &rr, w->type) && ns_rr_rdlen(rr) == len)
            a = add(w, w->type, ns_rr_ttl(rr));
        if (!a)
            continue;
        unsigned char *store = w->reply->addresses[a - w->reply->answers];
        memcpy(store, ns_rr_rdata(rr), len);
        a->data = adit_view_mem(store, len);
    }
    return ADIT_OK;
}

/* ---- no addresses ---- */

static uint32_t minimum(const ns_rr *rr)
{
    const unsigned char *at = ns_rr_rdata(*rr), *end = at + ns_rr_rdlen(*rr);
    for (int i = 0; i < 2; i++)
        if (ns_name_skip(&at, end) < 0)
            return EGRESS_REPLY_NEGATIVE_TTL;
    if ((size_t)(end - at) != SOA_NUMBERS_LEN)
        return EGRESS_REPLY_NEGATIVE_TTL;
    uint32_t own = (uint32_t)ns_get32(end - 4);
    return own < ns_rr_ttl(*rr) ? own : ns_rr_ttl(*rr);
}

static uint32_t negative_ttl(struct walk *w)
{
    ns_rr rr;
    for (int i = 0; i < record_cnt(w, ns_s_ns) && parse_record(w, ns_s_ns, i, &rr); i++)
        if (ns_rr_type(rr) == ns_t_soa)
            return bounded(minimum(&rr), EGRESS_REPLY_NEGATIVE_TTL_MAX);
    return EGRESS_REPLY_NEGATIVE_TTL;
}

/* ---- the message ---- */

static bool is_answer_to(struct walk *w, struct adit_view bytes)
{
    ns_rr question;
    return bytes.len <= INT_MAX &&
           ns_initparse((const unsigned char *)bytes.ptr, (int)bytes.len, &w->msg) == 0 &&
           ns_msg_getflag(w->msg, ns_f_qr) && ns_msg_getflag(w->msg, ns_f_opcode) == 0 &&
           !ns_msg_getflag(w->msg, ns_f_tc) && ns_msg_count(w->msg, ns_s_qd) == 1 &&
           parse_record(w, ns_s_qd, 0, &question) && is_of(w, &question, w->type);
}

static int walk_answers(struct walk *w)
{
    bool found = true;
    int rc = ADIT_OK;
    while (rc == ADIT_OK && found)
        rc = follow_one(w, &found);
    if (rc == ADIT_OK && w->reply->resolved.rcode == EGRESS_RCODE_OK)
        rc = take_addresses(w);
    return rc;
}

static bool has_address(const struct egress_resolved *r)
{
    return r->answer_cnt > 0 && r->answers[r->answer_cnt - 1].type != CONTROL_TYPE_CNAME;
}

void egress_reply_set_failed(struct egress_reply *r)
{
    r->resolved = (struct egress_resolved){EGRESS_RCODE_FAILED, 0, r->answers, 0};
}

void egress_reply_read(struct egress_reply *r, struct adit_view bytes, struct adit_view name,
                       unsigned type)
{
    struct walk w = {.reply = r, .type = type};
    egress_reply_set_failed(r);
    if (!take_name(name, r->names[0], &w.name) || !is_answer_to(&w, bytes))
        return;
    int rcode = ns_msg_getflag(w.msg, ns_f_rcode);
    if (rcode == ns_r_refused)
        r->resolved.rcode = EGRESS_RCODE_REFUSED;
    if (rcode != ns_r_noerror && rcode != ns_r_nxdomain)
        return;
    r->resolved.rcode = rcode == ns_r_noerror ? EGRESS_RCODE_OK : EGRESS_RCODE_NO_NAME;
    if (walk_answers(&w) != ADIT_OK)
        egress_reply_set_failed(r);
    else if (!has_address(&r->resolved))
        r->resolved.negative_ttl = negative_ttl(&w);
}
