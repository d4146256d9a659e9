/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of netlink that setting up a sandbox's network and reading its packet queue need:
 * messages with nested attributes into a bounded buffer, requests that are acknowledged, and a
 * reader that believes no length. (kernel: Documentation/userspace-api/netlink/intro.rst)
 */
#ifndef ENVD_EGRESS_EGRESS_NETLINK_H
#define ENVD_EGRESS_EGRESS_NETLINK_H

#include "base/view.h"

/* All messages of one request; the longest is a table of rules, some 3 KiB. */
#define EGRESS_NETLINK_REQUEST_MAX 8192
/* The kernel answers a request before it returns from sending it; this is for a kernel that does
 * not. */
#define EGRESS_NETLINK_ANSWER_MS 2000

/* A socket. @sequence: of the last message sent. */
struct egress_netlink {
    int fd;
    uint32_t sequence;
};

/* @protocol: NETLINK_ROUTE or NETLINK_NETFILTER. Errors: IO and kin. */
ADIT_MUST_CHECK int egress_netlink_open(struct egress_netlink *n, int protocol,
                                        struct adit_err *err);
void egress_netlink_close(struct egress_netlink *n);

/* ---- writing ---- */

/*
 * Messages that go out together. Writing behind the end is remembered in @is_full, so that only
 * egress_netlink_request() has to be asked. @message: where the last message begins.
 */
struct egress_netlink_request {
    _Alignas(8) char bytes[EGRESS_NETLINK_REQUEST_MAX];
    size_t len, message;
    bool is_full;
};

void egress_netlink_init(struct egress_netlink_request *r);
/* Begin a message. @flags: beside NLM_F_REQUEST. @head: the family's fixed header. */
void egress_netlink_begin(struct egress_netlink_request *r, uint16_t type, uint16_t flags,
                          const void *head, size_t head_len);
void egress_netlink_put(struct egress_netlink_request *r, uint16_t type, const void *p, size_t len);
void egress_netlink_put_u8(struct egress_netlink_request *r, uint16_t type, uint8_t v);
void egress_netlink_put_u32(struct egress_netlink_request *r, uint16_t type, uint32_t v);
/* In network order. */
void egress_netlink_put_be16(struct egress_netlink_request *r, uint16_t type, uint16_t v);
void egress_netlink_put_be32(struct egress_netlink_request *r, uint16_t type, uint32_t v);
/* With its NUL. */
void egress_netlink_put_text(struct egress_netlink_request *r, uint16_t type, const char *text);
/* Begin an attribute of attributes; give what it returns to the end. */
size_t egress_netlink_nest(struct egress_netlink_request *r, uint16_t type);
void egress_netlink_nest_end(struct egress_netlink_request *r, size_t nest);

/*
 * Send it whole and wait until every message with NLM_F_ACK is acknowledged. Errors: the kernel's
 * first refusal as adit_err_sys() gives it, with @what in the message; LIMIT (did not fit);
 * TIMEOUT.
 */
ADIT_MUST_CHECK int egress_netlink_request(struct egress_netlink *n,
                                           struct egress_netlink_request *r, const char *what,
                                           struct adit_err *err);
/* Send without waiting; what is refused comes as a message of its own. Return: 0, or errno. */
ADIT_MUST_CHECK int egress_netlink_send(struct egress_netlink *n, struct egress_netlink_request *r);

/* ---- reading ---- */

/* Take a message from the front of @in. Return: false at the end, and at a broken length. */
bool egress_netlink_next_message(struct adit_view *in, uint16_t *type, uint32_t *sequence,
                                 struct adit_view *body);
/* The same with an attribute; flags are taken off @type. */
bool egress_netlink_next_attribute(struct adit_view *in, uint16_t *type, struct adit_view *value);

#endif
