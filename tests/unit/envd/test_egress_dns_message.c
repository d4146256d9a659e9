/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages: queries as programs and attackers send them, answers byte by byte. */
#include "tests/unit/suite.h"

#include <string.h>

#include "envd/egress/egress_dns_message.h"

/* A query for @name (as sent) with RD, and whatever follows the question. */
static struct adit_view query(const char *name, size_t name_len, uint16_t type, const char *rest,
                              size_t rest_len)
{
    static char bytes[2048];
    const char head[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, (char)(rest_len ? 1 : 0)};
    const char tail[] = {(char)(type >> 8), (char)type, 0, 1};
    memcpy(bytes, head, sizeof head);
    memcpy(bytes + sizeof head, name, name_len);
    memcpy(bytes + sizeof head + name_len, tail, sizeof tail);
    if (rest_len)
        memcpy(bytes + sizeof head + name_len + sizeof tail, rest, rest_len);
    return adit_view_mem(bytes, sizeof head + name_len + sizeof tail + rest_len);
}

#define NAME(text) (text), sizeof(text)

START_TEST(dns_reads_a_query)
{
    struct egress_dns_query q;
    struct adit_view m = query(NAME("\7ExAmple\3com"), 28, "", 0);
    ck_assert_int_eq(egress_dns_read(m, &q), EGRESS_DNS_NOERROR);
    ck_assert_uint_eq(q.id, 0x1234);
    ck_assert_str_eq(q.name, "example.com");
    ck_assert(q.type == 28 && q.class == 1 && q.is_nameable && !q.has_edns);
    ck_assert_uint_eq(q.udp_size, 512);
    ck_assert_uint_eq(q.question_len, 17);
    m = query(NAME("\7example\3com"), 1, NULL, 0);
    ck_assert_int_eq(egress_dns_read(query(NAME(""), 2, "", 0), &q), EGRESS_DNS_NOERROR);
    ck_assert_str_eq(q.name, ""); /* the root */
}
END_TEST

START_TEST(dns_reads_the_edns_size)
{
    struct egress_dns_query q;
    static const char opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0};
    static const char small[] = {0, 0, 41, 0, 100, 0, 0, 0, 0, 0, 0};
    static const char cut[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 9};
    ck_assert_int_eq(egress_dns_read(query(NAME("\1a"), 1, opt, sizeof opt), &q), 0);
    ck_assert(q.has_edns && q.udp_size == 4096);
    ck_assert_int_eq(egress_dns_read(query(NAME("\1a"), 1, small, sizeof small), &q), 0);
    ck_assert(q.has_edns && q.udp_size == 512);
    ck_assert_int_eq(egress_dns_read(query(NAME("\1a"), 1, cut, sizeof cut), &q), 0);
    ck_assert(!q.has_edns);
}
END_TEST

START_TEST(dns_refuses_broken_queries)
{
    struct egress_dns_query q;
    struct adit_view m = query(NAME("\7example\3com"), 1, "", 0);
    char bytes[64];
    for (size_t len = 0; len < m.len; len++)
        ck_assert_int_eq(egress_dns_read(adit_view_mem(m.ptr, len), &q),
                         len < 12 ? -1 : EGRESS_DNS_FORMERR);
    static const struct {
        size_t at;
        uint8_t value;
        int rcode;
    } rows[] = {
        {2, 0x80, -1},                  /* an answer */
        {2, 0x28, EGRESS_DNS_NOTIMP},   /* an update */
        {5, 0, EGRESS_DNS_FORMERR},     /* no question */
        {5, 2, EGRESS_DNS_FORMERR},     /* two */
        {12, 0xc0, EGRESS_DNS_FORMERR}, /* a pointer */
        {12, 64, EGRESS_DNS_FORMERR},   /* a label too long */
        {12, 60, EGRESS_DNS_FORMERR},   /* that leads behind the end */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(bytes, m.ptr, m.len);
        bytes[rows[i].at] = (char)rows[i].value;
        int rcode = egress_dns_read(adit_view_mem(bytes, m.len), &q);
        ck_assert_msg(rcode == rows[i].rcode, "row %zu: %d", i, rcode);
    }
}
END_TEST

START_TEST(dns_name_has_255_bytes_at_most)
{
    struct egress_dns_query q;
    char name[300];
    size_t len = 0;
    for (int i = 0; i < 3; i++, len += 64) {
        name[len] = 63;
        memset(name + len + 1, 'a', 63);
    }
    name[len] = 61;
    memset(name + len + 1, 'b', 61);
    name[len + 62] = 0;
    ck_assert_int_eq(egress_dns_read(query(name, len + 63, 1, "", 0), &q), EGRESS_DNS_NOERROR);
    ck_assert_uint_eq(strlen(q.name), 253);
    name[len] = 62;
    name[len + 62] = 'b';
    name[len + 63] = 0;
    ck_assert_int_eq(egress_dns_read(query(name, len + 64, 1, "", 0), &q), EGRESS_DNS_FORMERR);
}
END_TEST

START_TEST(dns_knows_names_that_are_no_text)
{
    struct egress_dns_query q;
    static const struct adit_view names[] = {ADIT_VIEW("\3a.b\0"), ADIT_VIEW("\2a \0"),
                                             ADIT_VIEW("\2a\0\0"), ADIT_VIEW("\2a\xff\0")};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_int_eq(egress_dns_read(query(names[i].ptr, names[i].len, 1, "", 0), &q), 0);
        ck_assert(!q.is_nameable);
    }
}
END_TEST

/* ---- answers ---- */

static Control__Answer answers[80];
static Control__Answer *list[80];
static Control__LookupResult result;
static char alias[] = "www.Example.com", canonical[] = "example.com";

static void make_result(size_t cnt)
{
    static uint8_t address[4] = {1, 2, 3, 4};
    control__lookup_result__init(&result);
    for (size_t i = 0; i < cnt; i++) {
        control__answer__init(&answers[i]);
        answers[i].name = i == 0 && cnt > 1 ? alias : canonical;
        answers[i].type = i == 0 && cnt > 1 ? 5 : 1;
        answers[i].ttl = 300;
        answers[i].data = answers[i].type == 5 ? (ProtobufCBinaryData){11, (uint8_t *)canonical}
                                               : (ProtobufCBinaryData){4, address};
        list[i] = &answers[i];
    }
    result.answers = list;
    result.n_answers = cnt;
}

START_TEST(dns_writes_an_answer)
{
    static const char want[] = "\x12\x34\x81\x80\0\1\0\2\0\0\0\0"
                               "\3wWw\7example\3com\0\0\1\0\1"
                               "\xc0\x0c\0\5\0\1\0\0\1\x22\0\x0d\7example\3com\0"
                               "\7example\3com\0\0\1\0\1\0\0\1\x22\0\4\1\2\3\4";
    struct egress_dns_query q;
    struct adit_buf out;
    ck_assert_int_eq(egress_dns_read(query(NAME("\3wWw\7example\3com"), 1, "", 0), &q), 0);
    make_result(2);
    adit_buf_init(&out, 65535);
    ck_assert_int_eq(egress_dns_write(&out, &q, EGRESS_DNS_NOERROR, &result, 10, 512), ADIT_OK);
    ck_assert(adit_view_eq(adit_buf_view(&out), adit_view_mem(want, sizeof want - 1)));
    adit_buf_fini(&out);
}
END_TEST

START_TEST(dns_age_does_not_go_below_zero)
{
    struct egress_dns_query q;
    struct adit_buf out;
    ck_assert_int_eq(egress_dns_read(query(NAME("\7example\3com"), 1, "", 0), &q), 0);
    make_result(1);
    adit_buf_init(&out, 65535);
    ck_assert_int_eq(egress_dns_write(&out, &q, EGRESS_DNS_NOERROR, &result, 301, 512), ADIT_OK);
    struct adit_view m = adit_buf_view(&out);
    ck_assert_int_eq(memcmp(m.ptr + m.len - 10, "\0\0\0\0\0\4\1\2\3\4", 10), 0);
    adit_buf_fini(&out);
}
END_TEST

START_TEST(dns_answer_that_does_not_fit_is_cut)
{
    struct egress_dns_query q;
    struct adit_buf out;
    static const char opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0};
    ck_assert_int_eq(egress_dns_read(query(NAME("\7example\3com"), 1, opt, sizeof opt), &q), 0);
    make_result(60);
    adit_buf_init(&out, 65535);
    ck_assert_int_eq(egress_dns_write(&out, &q, EGRESS_DNS_NOERROR, &result, 0, 512), ADIT_OK);
    struct adit_view m = adit_buf_view(&out);
    ck_assert_uint_eq(m.len, 12 + 17 + 11);
    ck_assert_int_eq(memcmp(m.ptr + 2, "\x83\x80\0\1\0\0\0\0\0\1", 10), 0); /* TC, no answers */
    adit_buf_clear(&out);
    ck_assert_int_eq(egress_dns_write(&out, &q, EGRESS_DNS_NOERROR, &result, 0, 65535), ADIT_OK);
    ck_assert_int_eq(memcmp(adit_buf_view(&out).ptr + 6, "\0\x3c", 2), 0);
    adit_buf_fini(&out);
}
END_TEST

START_TEST(dns_failures_have_no_records)
{
    struct egress_dns_query q;
    struct adit_buf out;
    ck_assert_int_eq(egress_dns_read(query(NAME("\7example\3com"), 1, "", 0), &q), 0);
    make_result(1);
    adit_buf_init(&out, 65535);
    ck_assert_int_eq(egress_dns_write(&out, &q, EGRESS_DNS_SERVFAIL, &result, 0, 512), ADIT_OK);
    ck_assert_uint_eq(out.len, 12 + 17);
    ck_assert_int_eq(adit_buf_view(&out).ptr[3] & 15, EGRESS_DNS_SERVFAIL);
    adit_buf_fini(&out);
}
END_TEST

SUITE_MAIN("egress_dns_message", dns_reads_a_query, dns_reads_the_edns_size,
           dns_refuses_broken_queries, dns_name_has_255_bytes_at_most,
           dns_knows_names_that_are_no_text, dns_writes_an_answer, dns_age_does_not_go_below_zero,
           dns_answer_that_does_not_fit_is_cut, dns_failures_have_no_records)
