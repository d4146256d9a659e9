/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink messages: what is written is what is read, and no length is believed. */
#include "egress_space.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "envd/egress/egress_netlink.h"

static struct egress_netlink_request request;

static void begin(uint16_t flags)
{
    struct rtgenmsg head = {.rtgen_family = AF_INET};
    egress_netlink_begin(&request, RTM_NEWROUTE, flags, &head, sizeof head);
}

START_TEST(netlink_reads_what_it_wrote)
{
    struct adit_view in, body, value, inner;
    uint16_t type;
    uint32_t sequence, number;
    egress_netlink_init(&request);
    begin(0);
    egress_netlink_put_text(&request, 1, "abc");
    size_t nest = egress_netlink_nest(&request, 2);
    egress_netlink_put_be16(&request, 3, 0x1234);
    egress_netlink_put_u8(&request, 4, 7);
    egress_netlink_nest_end(&request, nest);
    begin(NLM_F_ACK);
    egress_netlink_put_be32(&request, 5, 0x01020304);
    ck_assert(!request.is_full);

    in = adit_view_mem(request.bytes, request.len);
    ck_assert(egress_netlink_next_message(&in, &type, &sequence, &body));
    ck_assert_int_eq(type, RTM_NEWROUTE);
    body = adit_view_mem(body.ptr + 4, body.len - 4);
    ck_assert(egress_netlink_next_attribute(&body, &type, &value));
    ck_assert(type == 1 && adit_view_eq(value, adit_view_mem("abc", 4)));
    ck_assert(egress_netlink_next_attribute(&body, &type, &inner));
    ck_assert_int_eq(type, 2);
    ck_assert(egress_netlink_next_attribute(&inner, &type, &value));
    ck_assert(type == 3 && adit_view_eq(value, adit_view_mem("\x12\x34", 2)));
    ck_assert(egress_netlink_next_attribute(&inner, &type, &value));
    ck_assert(type == 4 && adit_view_eq(value, adit_view_mem("\7", 1)));
    ck_assert(!egress_netlink_next_attribute(&inner, &type, &value));
    ck_assert(!egress_netlink_next_attribute(&body, &type, &value));
    ck_assert(egress_netlink_next_message(&in, &type, &sequence, &body));
    body = adit_view_mem(body.ptr + 4, body.len - 4);
    ck_assert(egress_netlink_next_attribute(&body, &type, &value));
    memcpy(&number, value.ptr, sizeof number);
    ck_assert_uint_eq(ntohl(number), 0x01020304);
    ck_assert(!egress_netlink_next_message(&in, &type, &sequence, &body));
}
END_TEST

START_TEST(netlink_stops_at_broken_lengths)
{
    static const uint16_t lengths[] = {0, 3, 9, 0xffff};
    _Alignas(4) char bytes[8] = {0};
    struct adit_view in, value;
    uint16_t type;
    uint32_t sequence;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        memcpy(bytes, &lengths[i], sizeof lengths[i]);
        in = adit_view_mem(bytes, sizeof bytes);
        ck_assert(!egress_netlink_next_attribute(&in, &type, &value));
    }
    in = adit_view_mem(bytes, 3);
    ck_assert(!egress_netlink_next_attribute(&in, &type, &value));
    for (uint32_t len = 0; len < sizeof(struct nlmsghdr) + 8; len++) {
        struct nlmsghdr head = {.nlmsg_len = len};
        in = adit_view_mem(&head, sizeof head);
        ck_assert(egress_netlink_next_message(&in, &type, &sequence, &value) ==
                  (len == sizeof head));
    }
}
END_TEST

START_TEST(netlink_takes_an_unpadded_last_attribute)
{
    static const char bytes[] = {5, 0, 1, 0, 'x'};
    struct adit_view in = adit_view_mem(bytes, sizeof bytes), value;
    uint16_t type;
    ck_assert(egress_netlink_next_attribute(&in, &type, &value));
    ck_assert_uint_eq(value.len, 1);
    ck_assert_uint_eq(in.len, 0);
}
END_TEST

START_TEST(netlink_request_that_does_not_fit_is_not_sent)
{
    static char big[EGRESS_NETLINK_REQUEST_MAX];
    struct egress_netlink n;
    struct adit_err err = ADIT_ERR_INIT;
    egress_netlink_init(&request);
    begin(NLM_F_ACK);
    egress_netlink_put(&request, 1, big, sizeof big - 64);
    ck_assert(!request.is_full);
    egress_netlink_put(&request, 1, big, 64);
    egress_netlink_nest_end(&request, egress_netlink_nest(&request, 1));
    begin(0);
    ck_assert(request.is_full);
    ck_assert_uint_le(request.len, sizeof request.bytes);
    ck_assert_int_eq(egress_netlink_open(&n, NETLINK_ROUTE, &err), ADIT_OK);
    ck_assert_int_eq(egress_netlink_request(&n, &request, "much", &err), ADIT_ERR_LIMIT);
    ck_assert_int_eq(egress_netlink_send(&n, &request), EMSGSIZE);
    egress_netlink_close(&n);
    egress_netlink_close(&n);
}
END_TEST

/* A routing rule on its own priority. */
static int add_rule(struct egress_netlink *n, uint8_t family, struct adit_err *err)
{
    char head[12] = {(char)family, 0, 0, 0, 100, 0, 0, 1};
    egress_netlink_init(&request);
    egress_netlink_begin(&request, RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, head,
                         sizeof head);
    egress_netlink_put_u32(&request, 6, 4711);
    return egress_netlink_request(n, &request, "the rule", err);
}

START_TEST(netlink_tells_what_the_kernel_refuses_and_goes_on)
{
    struct egress_netlink n;
    struct adit_err err = ADIT_ERR_INIT;
    space_enter();
    ck_assert_int_eq(egress_netlink_open(&n, NETLINK_ROUTE, &err), ADIT_OK);
    ck_assert_int_eq(add_rule(&n, AF_INET, &err), ADIT_OK);
    ck_assert_int_eq(add_rule(&n, AF_INET, &err), ADIT_ERR_EXISTS);
    ck_assert_int_eq(err.sys_errno, EEXIST);
    ck_assert(strncmp(err.msg, "the rule: ", 10) == 0);
    ck_assert_int_eq(add_rule(&n, AF_INET6, &err), ADIT_OK);
    egress_netlink_close(&n);
}
END_TEST

SUITE_MAIN("egress_netlink", netlink_reads_what_it_wrote, netlink_stops_at_broken_lengths,
           netlink_takes_an_unpadded_last_attribute, netlink_request_that_does_not_fit_is_not_sent,
           netlink_tells_what_the_kernel_refuses_and_goes_on)
