/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a name server answered, in the form that the guest is told (proto/control.proto,
 * LookupResult). Pure: no I/O, no allocation.
 */
#ifndef BROKER_EGRESS_EGRESS_REPLY_H
#define BROKER_EGRESS_EGRESS_REPLY_H

#include "net/ip_block.h"
#include "rpc/control.h"

/* Aliases between the name asked for and the one that has addresses. */
#define EGRESS_REPLY_ALIASES_MAX 16
/* Aliases and addresses together; more of them are left out. */
#define EGRESS_REPLY_ANSWERS_MAX CONTROL_ANSWERS_MAX
#define EGRESS_REPLY_TTL_MAX (24u * 3600)
/* For a negative answer without SOA record (RFC 2308 5), and the most for one with it. */
#define EGRESS_REPLY_NEGATIVE_TTL 5
#define EGRESS_REPLY_NEGATIVE_TTL_MAX 3600

enum egress_rcode {
    EGRESS_RCODE_OK = 0, /* also where the name is there and has no address of this type */
    EGRESS_RCODE_FAILED = 2,
    EGRESS_RCODE_NO_NAME = 3,
    EGRESS_RCODE_REFUSED = 5,
};

/*
 * @type: CONTROL_TYPE_A, CONTROL_TYPE_AAAA or CONTROL_TYPE_CNAME
 * @ttl:  seconds
 * @data: 4 bytes, 16 bytes, or a name
 * Names: lower case, without a dot at the end; control_is_name() holds.
 */
struct egress_answer {
    struct adit_view name;
    unsigned type;
    uint32_t ttl;
    struct adit_view data;
};

/*
 * @answers:      the chain of aliases from the name asked for, in order, then addresses of its end
 * @negative_ttl: where @answers has no address: for how long that stays so; else 0
 */
struct egress_resolved {
    enum egress_rcode rcode;
    uint32_t negative_ttl;
    const struct egress_answer *answers;
    size_t answer_cnt;
};

/* The caller's storage for one reply; @resolved points into it. */
struct egress_reply {
    struct egress_resolved resolved;
    struct egress_answer answers[EGRESS_REPLY_ANSWERS_MAX];
    char names[EGRESS_REPLY_ALIASES_MAX + 1][CONTROL_NAME_MAX + 1];
    unsigned char addresses[EGRESS_REPLY_ANSWERS_MAX][16];
};

/*
 * Read the DNS message @bytes, which answers a question for @name and @type (A or AAAA). Records
 * that are not on the way from @name to its addresses are passed over. Whatever is not understood
 * is EGRESS_RCODE_FAILED, so there is always something to tell.
 */
void egress_reply_read(struct egress_reply *r, struct adit_view bytes, struct adit_view name,
                       unsigned type);
/* A name that is asked for and told: control_is_name(), and letters, digits, hyphens, underscores.
 */
bool egress_reply_is_name(struct adit_view name);
/* No reply came. */
void egress_reply_set_failed(struct egress_reply *r);

#endif
