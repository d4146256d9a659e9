/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed file requests that name no sandbox: for which one they are is found by the signature.
 *
 * Clients that were given one address for all sandboxes make such URLs for plain HTTP programs:
 * neither host nor header says more.
 */
#ifndef BROKER_EDGE_EDGE_SIGNED_H
#define BROKER_EDGE_EDGE_SIGNED_H

#include "base/limit.h"
#include "base/map.h"
#include "base/sha256.h"
#include "broker/edge/edge.h"

/* Longest decoded path, user, signature and expiration; as envd takes. */
#define EDGE_SIGNED_PARAMETER_CAP (16u * 1024)
/* Signatures that were found a moment ago. */
#define EDGE_SIGNED_FOUND_MAX 256
/* Signatures nobody's token makes (each costs 1 us a sandbox): so many at once and a second, of one
 * client address, and of all on one loop. Addresses share EDGE_SIGNED_PEERS counters. */
#define EDGE_SIGNED_PEERS 1024
/* Bytes of an IPv6 address that tell peers apart: a /48. */
#define EDGE_SIGNED_SITE_LEN 6
#define EDGE_SIGNED_PEER_BURST 50
#define EDGE_SIGNED_PEER_RATE 10
#define EDGE_SIGNED_BURST 200
#define EDGE_SIGNED_RATE 100

enum edge_signed_result {
    EDGE_SIGNED_FOUND,
    EDGE_SIGNED_UNKNOWN, /* nobody's signature */
    EDGE_SIGNED_LIMITED, /* too many of these; nothing was looked for */
};

/* One a relay loop. @found: sandbox ids, by the signature's first byte */
struct edge_signed {
    char found[EDGE_SIGNED_FOUND_MAX][EDGE_ID_CAP];
    struct adit_limit peers[EDGE_SIGNED_PEERS], all;
    uint64_t seed;
};

void edge_signed_init(struct edge_signed *s, uint64_t seed, uint64_t now_ns);
/* Is it GET or POST of exactly /files, with a signature? */
bool edge_signed_is_one(enum http_method method, struct adit_view target);
/*
 * Find the sandbox, in a loop's @table, whose token makes the signature in @target. @peer: the
 * client's address. *sandbox_id: borrowed from the table.
 */
enum edge_signed_result edge_signed_find(struct edge_signed *s, const struct adit_map *table,
                                         enum http_method method, struct adit_view target,
                                         const char *peer, uint64_t now_ns,
                                         const char **sandbox_id);

#endif
