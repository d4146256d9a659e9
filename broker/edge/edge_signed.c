/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed file requests that name no sandbox.
 *
 * Theory of operation
 *
 * What: a signature is a SHA-256 over "path:operation:user:token[:expiration]". The digest is made
 * with the token of each secured sandbox until one fits; what all texts begin with is digested
 * once, so a sandbox costs two blocks of SHA-256 however long the path is. A signature that was
 * found is remembered, and tried on its sandbox first. Whether it is right, and in time, is still
 * envd's to say: here it only serves as an address.
 *
 * Trust: anybody may ask. What it costs to be wrong is bounded: so many failures a client address
 * and a loop, then 429 without a look. Who is right pays nothing, so others' failures do not lock a
 * client out, as long as it does not come from their address. Digests are compared in constant
 * time.
 */
#include "broker/edge/edge_signed.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/encode.h"
#include "broker/edge/edge_int.h"
#include "net/url.h"

#define PATH "/files"
#define PREFIX "v1_"

/* What is signed, but for the token. */
struct question {
    uint8_t digest[ADIT_SHA256_LEN];
    struct adit_sha256 begun;
    struct adit_buf expiration;
};

void edge_signed_init(struct edge_signed *s, uint64_t seed, uint64_t now_ns)
{
    memset(s, 0, sizeof(*s));
    s->seed = seed;
    adit_limit_init(&s->all, EDGE_SIGNED_BURST, EDGE_SIGNED_RATE, now_ns);
    for (size_t i = 0; i < EDGE_SIGNED_PEERS; i++)
        adit_limit_init(&s->peers[i], EDGE_SIGNED_PEER_BURST, EDGE_SIGNED_PEER_RATE, now_ns);
}

/* The target's query, when its path is the one. */
static bool take_query(struct adit_view target, struct adit_view *query)
{
    struct url_target url;
    if (url_split_target(target, &url, NULL) || !adit_view_eq_str(url.path, PATH))
        return false;
    *query = url.query;
    return true;
}

bool edge_signed_is_one(enum http_method method, struct adit_view target)
{
    struct adit_view query, key, value;
    if ((method != HTTP_GET && method != HTTP_POST) || !take_query(target, &query))
        return false;
    for (size_t i = 0; i < URL_QUERY_PARAMS_MAX && url_query_next(&query, &key, &value); i++)
        if (adit_view_eq_str(key, "signature"))
            return true;
    return false;
}

/* ---- the question ---- */

/* "v1_" and unpadded base64 of a digest. */
static int take_digest(struct adit_view text, uint8_t out[ADIT_SHA256_LEN])
{
    uint8_t bytes[ADIT_SHA256_LEN + 8];
    size_t len = 0;
    struct adit_view v = adit_view_mem(text.ptr + strlen(PREFIX), text.len - strlen(PREFIX));
    if (v.len != (ADIT_SHA256_LEN * 4 + 2) / 3 || adit_base64_decode(v, bytes, &len) ||
        len != ADIT_SHA256_LEN)
        return ADIT_ERR_BAD_INPUT;
    memcpy(out, bytes, ADIT_SHA256_LEN);
    return 0;
}

static int read_signature(struct adit_view query, uint8_t digest[ADIT_SHA256_LEN])
{
    struct adit_buf text;
    bool has = false;
    adit_buf_init(&text, EDGE_SIGNED_PARAMETER_CAP);
    int rc = url_query_get(query, "signature", &text, &has);
    if (rc == 0)
        rc = adit_view_has_prefix(adit_buf_view(&text), PREFIX)
                 ? take_digest(adit_buf_view(&text), digest)
                 : ADIT_ERR_BAD_INPUT;
    adit_buf_fini(&text);
    return rc;
}

/* Digest a parameter and what follows it. */
static int add_parameter(struct adit_sha256 *s, struct adit_view query, const char *name,
                         const char *after)
{
    struct adit_buf text;
    bool ignored;
    adit_buf_init(&text, EDGE_SIGNED_PARAMETER_CAP);
    int rc = url_query_get(query, name, &text, &ignored);
    if (rc == 0) {
        adit_sha256_add(s, adit_buf_view(&text));
        adit_sha256_add(s, adit_view_str(after));
    }
    adit_buf_fini(&text);
    return rc;
}

static int read_question(enum http_method method, struct adit_view query, struct question *q)
{
    bool ignored;
    adit_sha256_begin(&q->begun);
    int rc = read_signature(query, q->digest);
    if (rc == 0)
        rc = add_parameter(&q->begun, query, "path", method == HTTP_GET ? ":read:" : ":write:");
    if (rc == 0)
        rc = add_parameter(&q->begun, query, "username", ":");
    if (rc == 0)
        rc = url_query_get(query, "signature_expiration", &q->expiration, &ignored);
    return rc;
}

/* ---- the search ---- */

static bool fits(const struct question *q, const struct edge_entry *entry)
{
    uint8_t digest[ADIT_SHA256_LEN];
    struct adit_sha256 s = q->begun;
    if (!entry->route.envd_token[0])
        return false;
    adit_sha256_add(&s, adit_view_str(entry->route.envd_token));
    if (q->expiration.len) {
        adit_sha256_add(&s, adit_view_str(":"));
        adit_sha256_add(&s, adit_buf_view(&q->expiration));
    }
    adit_sha256_end(&s, digest);
    return adit_view_eq_secret(adit_view_mem(digest, sizeof(digest)),
                               adit_view_mem(q->digest, sizeof(q->digest)));
}

static char *slot_of(struct edge_signed *s, const struct question *q)
{
    return s->found[q->digest[0] % EDGE_SIGNED_FOUND_MAX];
}

static const struct edge_entry *find_again(struct edge_signed *s, const struct adit_map *table,
                                           const struct question *q)
{
    const struct edge_entry *entry = adit_map_get(table, adit_view_str(slot_of(s, q)));
    return entry && fits(q, entry) ? entry : NULL;
}

static const struct edge_entry *search(const struct adit_map *table, const struct question *q)
{
    size_t pos = 0;
    struct adit_view id;
    void *entry;
    while (adit_map_next(table, &pos, &id, &entry))
        if (fits(q, entry))
            return entry;
    return NULL;
}

static void remember(struct edge_signed *s, const struct question *q,
                     const struct edge_entry *entry)
{
    memcpy(slot_of(s, q), entry->route.sandbox_id, EDGE_ID_CAP);
}

/* ---- the price of being wrong ---- */

/* FNV-1a over a seed: an address cannot choose whose counter it shares. Who has one address of IPv6
 * has as many as it likes beside it: what a site is given counts as one. */
static struct adit_limit *limit_of(struct edge_signed *s, const char *peer)
{
    uint64_t h = s->seed ^ UINT64_C(0xcbf29ce484222325);
    struct in6_addr site;
    struct adit_view v = adit_view_str(peer);
    if (inet_pton(AF_INET6, peer, &site) == 1 && !IN6_IS_ADDR_V4MAPPED(&site))
        v = adit_view_mem(&site, EDGE_SIGNED_SITE_LEN);
    for (size_t i = 0; i < v.len; i++)
        h = (h ^ (unsigned char)v.ptr[i]) * UINT64_C(0x100000001b3);
    return &s->peers[(h ^ (h >> 32)) % EDGE_SIGNED_PEERS];
}

static bool pay(struct edge_signed *s, struct adit_limit *peer, uint64_t now_ns)
{
    if (!adit_limit_take(peer, now_ns))
        return false;
    if (adit_limit_take(&s->all, now_ns))
        return true;
    adit_limit_give_back(peer);
    return false;
}

static enum edge_signed_result answer(struct edge_signed *s, const struct adit_map *table,
                                      const struct question *q, const char *peer, uint64_t now_ns,
                                      const char **sandbox_id)
{
    struct adit_limit *limit = limit_of(s, peer);
    const struct edge_entry *entry = find_again(s, table, q);
    if (!entry && !pay(s, limit, now_ns))
        return EDGE_SIGNED_LIMITED;
    if (!entry && (entry = search(table, q))) {
        remember(s, q, entry);
        adit_limit_give_back(limit);
        adit_limit_give_back(&s->all);
    }
    if (!entry)
        return EDGE_SIGNED_UNKNOWN;
    *sandbox_id = entry->route.sandbox_id;
    return EDGE_SIGNED_FOUND;
}

enum edge_signed_result edge_signed_find(struct edge_signed *s, const struct adit_map *table,
                                         enum http_method method, struct adit_view target,
                                         const char *peer, uint64_t now_ns, const char **sandbox_id)
{
    enum edge_signed_result result = EDGE_SIGNED_UNKNOWN;
    struct adit_view query;
    struct question q;
    if (!take_query(target, &query))
        return result;
    adit_buf_init(&q.expiration, EDGE_SIGNED_PARAMETER_CAP);
    if (read_question(method, query, &q) == 0)
        result = answer(s, table, &q, peer, now_ns, sandbox_id);
    adit_buf_fini(&q.expiration);
    return result;
}
