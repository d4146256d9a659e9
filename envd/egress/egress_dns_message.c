/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages.
 *
 * Theory of operation
 *
 * What:    a query has one question with its name in full (no sender compresses it), perhaps a
 * record that tells its EDNS size, and nothing else that matters. The answer repeats the question
 * byte by byte, as some senders check the case of letters. Names of answers that are the question's
 * are pointers to it, others are in full.
 * Limits:  a name is at most 255 bytes as sent, labels 63; records behind the question are walked
 * no further than the message goes.
 * Trust:   queries are hostile; answers' names were checked when their frame was read
 * (rpc/control.h).
 */
#include "envd/egress/egress_dns_message.h"

#define FLAG_QR 0x8000
#define FLAG_OPCODE 0x7800
#define FLAG_TC 0x0200
#define FLAG_RD 0x0100
#define FLAG_RA 0x0080
#define FLAG_CD 0x0010
#define LABEL_MAX 63
#define TYPE_OPT 41
#define POINTER_TO_QUESTION (0xc000 | EGRESS_DNS_HEAD_LEN)

/* ---- reading ---- */

/* What is left of a message. */
struct cursor {
    const uint8_t *at;
    size_t left;
};

static bool take16(struct cursor *c, uint16_t *out)
{
    if (c->left < 2)
        return false;
    *out = (uint16_t)(c->at[0] << 8 | c->at[1]);
    c->at += 2;
    c->left -= 2;
    return true;
}

static bool skip(struct cursor *c, size_t len)
{
    if (c->left < len)
        return false;
    c->at += len;
    c->left -= len;
    return true;
}

static char lower(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Append a label and a dot before it. */
static void name_label(struct egress_dns_query *q, size_t *len, const uint8_t *label, size_t n)
{
    if (*len > 0)
        q->name[(*len)++] = '.';
    for (size_t i = 0; i < n; i++) {
        q->is_nameable = q->is_nameable && label[i] > ' ' && label[i] <= '~' && label[i] != '.';
        q->name[(*len)++] = lower(label[i]);
    }
}

/* Text is never longer than the name as sent: a dot for each length byte but one, a NUL for the
 * root's. */
static bool take_name(struct cursor *c, struct egress_dns_query *q)
{
    size_t text_len = 0, sent_len = 0;
    q->is_nameable = true;
    while (c->left > 0 && c->at[0] != 0) {
        size_t n = c->at[0];
        sent_len += n + 1;
        if (n > LABEL_MAX || n + 1 > c->left || sent_len + 1 > EGRESS_DNS_NAME_MAX)
            return false;
        name_label(q, &text_len, c->at + 1, n);
        (void)skip(c, n + 1); /* it is there */
    }
    q->name[text_len] = '\0';
    return skip(c, 1);
}

static bool take_question(struct cursor *c, struct egress_dns_query *q)
{
    const uint8_t *begin = c->at;
    if (!take_name(c, q) || !take16(c, &q->type) || !take16(c, &q->class))
        return false;
    q->question_len = (size_t)(c->at - begin);
    memcpy(q->question, begin, q->question_len);
    return true;
}

/* A record behind the question: only that of EDNS is of interest, which belongs to the root. */
static bool take_record(struct cursor *c, struct egress_dns_query *q)
{
    uint16_t type, class, len;
    bool is_root = c->left > 0 && c->at[0] == 0;
    if (!is_root || !skip(c, 1) || !take16(c, &type) || !take16(c, &class) || !skip(c, 4) ||
        !take16(c, &len) || !skip(c, len))
        return false;
    if (type != TYPE_OPT || q->has_edns)
        return true;
    q->has_edns = true;
    q->udp_size = class < EGRESS_DNS_UDP_MIN ? EGRESS_DNS_UDP_MIN : class;
    return true;
}

int egress_dns_read(struct adit_view message, struct egress_dns_query *q)
{
    struct cursor c = {(const uint8_t *)message.ptr, message.len};
    uint16_t cnt[4];
    memset(q, 0, sizeof *q);
    q->udp_size = EGRESS_DNS_UDP_MIN;
    if (message.len < EGRESS_DNS_HEAD_LEN || message.len > EGRESS_DNS_MESSAGE_MAX)
        return -1;
    bool is_whole = take16(&c, &q->id) && take16(&c, &q->flags);
    for (int i = 0; i < 4; i++)
        is_whole = is_whole && take16(&c, &cnt[i]);
    if (!is_whole || (q->flags & FLAG_QR))
        return -1;
    if (q->flags & FLAG_OPCODE)
        return EGRESS_DNS_NOTIMP;
    if (cnt[0] != 1 || !take_question(&c, q))
        return EGRESS_DNS_FORMERR;
    /* Other records are nobody's in a query; behind one that cannot be read none is looked for. */
    for (unsigned i = 0; i < (unsigned)cnt[1] + cnt[2] + cnt[3]; i++)
        if (!take_record(&c, q))
            break;
    return EGRESS_DNS_NOERROR;
}

/* ---- writing ---- */

static int put16(struct adit_buf *out, uint16_t v)
{
    uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    return adit_buf_append(out, bytes, sizeof bytes);
}

static int put32(struct adit_buf *out, uint32_t v)
{
    int rc = put16(out, (uint16_t)(v >> 16));
    return rc ? rc : put16(out, (uint16_t)v);
}

/* In full: each label behind its length, then the root. */
static int put_name(struct adit_buf *out, struct adit_view name)
{
    struct adit_view label, rest = name;
    int rc = ADIT_OK;
    while (rc == ADIT_OK && rest.len > 0) {
        if (!adit_view_split(rest, '.', &label, &rest))
            rest = adit_view_mem(NULL, 0);
        rc = adit_buf_append_char(out, (char)label.len);
        if (rc == ADIT_OK)
            rc = adit_buf_append_view(out, label);
    }
    return rc ? rc : adit_buf_append_char(out, '\0');
}

static int put_data(struct adit_buf *out, const Control__Answer *a)
{
    struct adit_view data = adit_view_mem(a->data.data, a->data.len);
    bool is_name = a->type == CONTROL_TYPE_CNAME;
    size_t len = is_name ? data.len + 2 : data.len; /* a length byte more than dots, and the root */
    int rc = put16(out, (uint16_t)len);
    if (rc)
        return rc;
    return is_name ? put_name(out, data) : adit_buf_append_view(out, data);
}

static int put_answer(struct adit_buf *out, const struct egress_dns_query *q,
                      const Control__Answer *a, uint32_t age_s)
{
    bool is_question = adit_view_ieq_str(adit_view_str(a->name), q->name);
    int rc = is_question ? put16(out, POINTER_TO_QUESTION) : put_name(out, adit_view_str(a->name));
    if (rc == ADIT_OK)
        rc = put16(out, (uint16_t)a->type);
    if (rc == ADIT_OK)
        rc = put16(out, EGRESS_DNS_CLASS_IN);
    if (rc == ADIT_OK)
        rc = put32(out, a->ttl > age_s ? a->ttl - age_s : 0);
    return rc ? rc : put_data(out, a);
}

static int put_edns(struct adit_buf *out)
{
    static const uint8_t record[] = {
        0, 0, TYPE_OPT, EGRESS_DNS_UDP_MAX >> 8, EGRESS_DNS_UDP_MAX & 255, 0, 0, 0, 0, 0, 0};
    return adit_buf_append(out, record, sizeof record);
}

static int put_head(struct adit_buf *out, const struct egress_dns_query *q, uint16_t flags,
                    size_t answer_cnt)
{
    int rc = put16(out, q->id);
    if (rc == ADIT_OK)
        rc = put16(out, (uint16_t)(FLAG_QR | FLAG_RA | flags |
                                   (q->flags & (FLAG_OPCODE | FLAG_RD | FLAG_CD))));
    if (rc == ADIT_OK)
        rc = put16(out, q->question_len > 0);
    if (rc == ADIT_OK)
        rc = put16(out, (uint16_t)answer_cnt);
    if (rc == ADIT_OK)
        rc = put16(out, 0);
    if (rc == ADIT_OK)
        rc = put16(out, q->has_edns);
    return rc ? rc : adit_buf_append(out, q->question, q->question_len);
}

static int put_message(struct adit_buf *out, const struct egress_dns_query *q, uint16_t flags,
                       const Control__LookupResult *result, uint32_t age_s)
{
    size_t cnt = result ? result->n_answers : 0;
    int rc = put_head(out, q, flags, cnt);
    for (size_t i = 0; rc == ADIT_OK && i < cnt; i++)
        rc = put_answer(out, q, result->answers[i], age_s);
    return rc == ADIT_OK && q->has_edns ? put_edns(out) : rc;
}

int egress_dns_write(struct adit_buf *out, const struct egress_dns_query *q,
                     enum egress_dns_rcode rcode, const Control__LookupResult *result,
                     uint32_t age_s, size_t max)
{
    size_t before = out->len;
    bool has_answers = rcode == EGRESS_DNS_NOERROR || rcode == EGRESS_DNS_NXDOMAIN;
    int rc = put_message(out, q, (uint16_t)rcode, has_answers ? result : NULL, age_s);
    if (rc || out->len - before <= max)
        return rc;
    out->len = before;
    return put_message(out, q, (uint16_t)(rcode | FLAG_TC), NULL, 0);
}
