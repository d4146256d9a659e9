/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages as a stub resolver meets them: queries in, answers out. No I/O, no allocation but
 * the answer's buffer. (RFC 1035 section 4, RFC 6891 for EDNS)
 */
#ifndef ENVD_EGRESS_EGRESS_DNS_MESSAGE_H
#define ENVD_EGRESS_EGRESS_DNS_MESSAGE_H

#include "base/buf.h"
#include "rpc/control.h"

/* Longest message, and an answer over UDP without and with EDNS. */
#define EGRESS_DNS_MESSAGE_MAX 65535
#define EGRESS_DNS_UDP_MIN 512
#define EGRESS_DNS_UDP_MAX 1232
#define EGRESS_DNS_HEAD_LEN 12
/* Of a name as it is sent, and of a question with type and class. */
#define EGRESS_DNS_NAME_MAX 255
#define EGRESS_DNS_QUESTION_MAX (EGRESS_DNS_NAME_MAX + 4)

enum egress_dns_rcode {
    EGRESS_DNS_NOERROR = 0,
    EGRESS_DNS_FORMERR = 1,
    EGRESS_DNS_SERVFAIL = 2,
    EGRESS_DNS_NXDOMAIN = 3,
    EGRESS_DNS_NOTIMP = 4,
    EGRESS_DNS_REFUSED = 5,
};

#define EGRESS_DNS_CLASS_IN 1

/*
 * @flags:        of the query's head: opcode, RD, CD are told back
 * @name:         in lower case, labels between dots, none at the end; empty for the root
 * @question:     as it came (its letters' case included), empty when it could not be read
 * @udp_size:     what the sender takes over UDP
 * @is_nameable:  the name can be written as text
 */
struct egress_dns_query {
    uint16_t id, flags, type, class;
    uint16_t udp_size;
    bool has_edns, is_nameable;
    char name[EGRESS_DNS_NAME_MAX];
    uint8_t question[EGRESS_DNS_QUESTION_MAX];
    size_t question_len;
};

/*
 * Read a query. Return: the rcode that it deserves (NOERROR: go on), with what could be read in
 * @out, enough for an answer; -1 for what is no query at all and gets none.
 */
int egress_dns_read(struct adit_view message, struct egress_dns_query *out);

/*
 * Append the answer. @result: NULL for none; its answers go out when the rcode is NOERROR or
 * NXDOMAIN. @age_s: taken off their times to live. @max: longest message; what does not fit is cut
 * to none, with the bit that says so. Errors: NO_MEMORY, LIMIT (of @out).
 */
ADIT_MUST_CHECK int egress_dns_write(struct adit_buf *out, const struct egress_dns_query *q,
                                     enum egress_dns_rcode rcode,
                                     const Control__LookupResult *result, uint32_t age_s,
                                     size_t max);

#endif
