/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's stub resolver: answers what it knows, asks the host for the rest. */
#ifndef ENVD_EGRESS_EGRESS_DNS_H
#define ENVD_EGRESS_EGRESS_DNS_H

#include "envd/egress/egress_control.h"
#include "envd/egress/egress_dns_cache.h"
#include "envd/egress/egress_dns_message.h"

/* Queries that wait for an answer; the next is answered SERVFAIL. */
#define EGRESS_DNS_CLIENTS_MAX 512
/* Names that are asked of the host and not answered; the others wait their turn. */
#define EGRESS_DNS_ASKED_MAX 64
/* From the query to SERVFAIL, also while there is no host. */
#define EGRESS_DNS_LOOKUP_MS 8000
/* Of "localhost" and names under it, which never leave. */
#define EGRESS_DNS_LOCALHOST_TTL 3600

struct egress_dns;

/*
 * Somebody who asks; embedded in its owner, who keeps it until @on_answer, @on_result or
 * egress_dns_forget(). @is_stream: over TCP, where any length is taken.
 */
struct egress_dns_client {
    struct adit_list node;
    struct egress_dns *dns;
    struct egress_dns_query query;
    bool is_stream;
    /* @message: empty when there is no answer. The client is its owner's again. */
    void (*on_answer)(struct egress_dns_client *c, struct adit_view message);
    /* The same for egress_dns_resolve(). @result: NULL when it has no records. */
    void (*on_result)(struct egress_dns_client *c, enum egress_dns_rcode rcode,
                      const Control__LookupResult *result);
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_dns_new(struct net_loop *l, struct egress_control *control,
                                   struct egress_dns **out, struct adit_err *err);
/* The clients that wait are forgotten, not answered. */
void egress_dns_free(struct egress_dns *d);

/* Answer @message: at once or later, once. */
void egress_dns_ask(struct egress_dns *d, struct egress_dns_client *c, bool is_stream,
                    struct adit_view message,
                    void (*on_answer)(struct egress_dns_client *c, struct adit_view message));
/* Look up the addresses of @name (which keeps control_is_name()) for envd itself: at once or later,
 * once. @type: CONTROL_TYPE_A or CONTROL_TYPE_AAAA. */
void egress_dns_resolve(struct egress_dns *d, struct egress_dns_client *c, struct adit_view name,
                        uint16_t type,
                        void (*on_result)(struct egress_dns_client *c, enum egress_dns_rcode rcode,
                                          const Control__LookupResult *result));
/* The client goes away before its answer. */
void egress_dns_forget(struct egress_dns_client *c);

/* From the control channel. */
void egress_dns_open(struct egress_dns *d, bool has_ipv6);
void egress_dns_lost(struct egress_dns *d);
void egress_dns_result(struct egress_dns *d, const Control__LookupResult *result);

#endif
