/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS queries of programs, and the answers that are made of them; the last bytes choose the answer.
 * Oracles: a name is text that leads back to the bytes that came; the answer is no longer than what
 * is allowed, repeats id and question, and a strict reader walks it to its last byte.
 */
#include "oracle.h"

#include <strings.h>

#include "envd/egress/egress_dns_message.h"

/* Walk a name of the answer: labels, or a pointer to the question. Return: the place behind it. */
static size_t skip_name(const uint8_t *m, size_t len, size_t at)
{
    while (at < len && m[at] != 0 && m[at] < 64)
        at += 1u + m[at];
    ORACLE(at < len);
    if (m[at] == 0)
        return at + 1;
    ORACLE(m[at] == 0xc0 && at + 1 < len && m[at + 1] == EGRESS_DNS_HEAD_LEN);
    return at + 2;
}

static void check_answer(struct adit_view message, const struct egress_dns_query *q, size_t max)
{
    const uint8_t *m = (const uint8_t *)message.ptr;
    size_t len = message.len, at = EGRESS_DNS_HEAD_LEN + q->question_len;
    ORACLE(len >= at && m[0] == q->id >> 8 && m[1] == (q->id & 255) && (m[2] & 0x80));
    ORACLE(len <= max || (m[2] & 2));
    ORACLE(memcmp(m + EGRESS_DNS_HEAD_LEN, q->question, q->question_len) == 0);
    unsigned cnt = (unsigned)m[6] << 8 | m[7];
    cnt += (unsigned)m[10] << 8 | m[11];
    for (unsigned i = 0; i < cnt; i++) {
        at = skip_name(m, len, at);
        ORACLE(at + 10 <= len);
        at += 10u + (unsigned)(m[at + 8] << 8 | m[at + 9]);
    }
    ORACLE(at == len);
}

/* The name as sent, made of the text, is the question's but for the case of letters. */
static void check_name(const struct egress_dns_query *q)
{
    size_t at = 0, text = 0;
    ORACLE(strlen(q->name) <= CONTROL_NAME_MAX);
    if (!q->is_nameable)
        return;
    ORACLE(!q->name[0] || control_is_name(adit_view_str(q->name)));
    while (q->question[at] != 0) {
        size_t n = q->question[at];
        ORACLE(strncasecmp(q->name + text, (const char *)q->question + at + 1, n) == 0);
        at += n + 1;
        text += n + 1;
    }
    ORACLE(text == 0 || text == strlen(q->name) + 1);
}

static void answer(const struct egress_dns_query *q, uint8_t choice, size_t max)
{
    static uint8_t address[16];
    static char other[] = "other.example.com";
    static Control__Answer answers[CONTROL_ANSWERS_MAX], *list[CONTROL_ANSWERS_MAX];
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    struct egress_dns_query copy = *q;
    struct adit_buf out;
    result.n_answers = choice % CONTROL_ANSWERS_MAX;
    result.answers = list;
    for (size_t i = 0; i < result.n_answers; i++) {
        control__answer__init(&answers[i]);
        answers[i].name = i % 3 || !q->name[0] || !q->is_nameable ? other : copy.name;
        answers[i].type = i % 3 == 0 ? 5 : i % 3 == 1 ? 1 : 28;
        answers[i].ttl = choice;
        answers[i].data = i % 3 == 0 ? (ProtobufCBinaryData){sizeof other - 1, (uint8_t *)other}
                                     : (ProtobufCBinaryData){i % 3 == 1 ? 4 : 16, address};
        list[i] = &answers[i];
    }
    adit_buf_init(&out, EGRESS_DNS_MESSAGE_MAX);
    ORACLE(egress_dns_write(&out, q, choice & 15, &result, choice, max) == ADIT_OK);
    check_answer(adit_buf_view(&out), q, max);
    adit_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct egress_dns_query q;
    if (size < 1)
        return 0;
    int rcode = egress_dns_read(adit_view_mem(data, size - 1), &q);
    if (rcode < 0)
        return 0;
    ORACLE(q.question_len <= sizeof q.question && q.udp_size >= EGRESS_DNS_UDP_MIN);
    if (rcode == EGRESS_DNS_NOERROR)
        check_name(&q);
    answer(&q, data[size - 1], EGRESS_DNS_UDP_MIN);
    answer(&q, data[size - 1], EGRESS_DNS_MESSAGE_MAX);
    return 0;
}
