/* SPDX-License-Identifier: Apache-2.0 */
/* Signed file requests without an address: whose they are, and what being wrong costs. */
#include "tests/unit/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "broker/edge/edge_int.h"

#define S UINT64_C(1000000000)
#define SANDBOXES 500

static struct adit_map table;
static struct edge_signed *signatures;

static void token_of(int i, char out[EDGE_TOKEN_CAP])
{
    (void)snprintf(out, EDGE_TOKEN_CAP, "%064d", i);
}

static void set_up(void)
{
    adit_map_init(&table);
    signatures = calloc(1, sizeof(*signatures));
    edge_signed_init(signatures, 7, 0);
    for (int i = 0; i < SANDBOXES; i++) {
        struct edge_entry *entry = calloc(1, sizeof(*entry));
        (void)snprintf(entry->route.sandbox_id, EDGE_ID_CAP, "i%d", i);
        if (i != 3) /* an open one */
            token_of(i, entry->route.envd_token);
        ck_assert_int_eq(adit_map_put(&table, adit_view_str(entry->route.sandbox_id), entry), 0);
    }
}

static void tear_down(void)
{
    size_t pos = 0;
    struct adit_view id;
    void *entry;
    while (adit_map_next(&table, &pos, &id, &entry))
        free(entry);
    adit_map_fini(&table);
    free(signatures);
}

/* "/files?…" signed with @token; @expiration may be NULL. */
static void sign(const char *path, const char *operation, const char *user, const char *token,
                 const char *expiration, char out[1024])
{
    char text[512];
    uint8_t digest[ADIT_SHA256_LEN];
    struct adit_buf b;
    size_t len;
    (void)snprintf(text, sizeof(text), "%s:%s:%s:%s%s%s", path, operation, user, token,
                   expiration ? ":" : "", expiration ? expiration : "");
    adit_sha256(adit_view_str(text), digest);
    adit_buf_init(&b, 128);
    ck_assert_int_eq(adit_base64_append(&b, digest, sizeof(digest)), 0);
    int n = snprintf(out, 1024, "/files?path=%s&username=%s&signature=v1_", path, user);
    for (len = 0; len < 43; len++) {
        char c = adit_buf_view(&b).ptr[len];
        n += snprintf(out + n, 1024 - (size_t)n, c == '+' || c == '/' ? "%%%02X" : "%c", c);
    }
    if (expiration)
        (void)snprintf(out + n, 1024 - (size_t)n, "&signature_expiration=%s", expiration);
    adit_buf_fini(&b);
}

static enum edge_signed_result find(enum http_method method, const char *target, const char *peer,
                                    uint64_t now_ns, const char **id)
{
    ck_assert(edge_signed_is_one(method, adit_view_str(target)));
    return edge_signed_find(signatures, &table, method, adit_view_str(target), peer, now_ns, id);
}

START_TEST(edge_signed_knows_what_it_is_for)
{
    static const struct {
        enum http_method method;
        const char *target;
        bool is_one;
    } t[] = {
        {HTTP_GET, "/files?signature=x", true},
        {HTTP_POST, "/files?path=a&signature=", true},
        {HTTP_GET, "/files", false},
        {HTTP_GET, "/files?path=signature", false},
        {HTTP_GET, "/files?xsignature=1", false},
        {HTTP_GET, "/files/?signature=x", false},
        {HTTP_GET, "//files?signature=x", false},
        {HTTP_GET, "/files/compose?signature=x", false},
        {HTTP_GET, "/init?signature=x", false},
        {HTTP_HEAD, "/files?signature=x", false},
        {HTTP_OPTIONS, "/files?signature=x", false},
        {HTTP_PUT, "/files?signature=x", false},
        {HTTP_GET, "*", false},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        ck_assert_msg(edge_signed_is_one(t[i].method, adit_view_str(t[i].target)) == t[i].is_one,
                      "%s", t[i].target);
}
END_TEST

START_TEST(edge_signed_finds_whose_token_it_is)
{
    char target[1024], token[EDGE_TOKEN_CAP];
    const char *id = NULL;
    for (int i = 0; i < SANDBOXES; i += 71) {
        token_of(i, token);
        sign("a.txt", "read", "", token, NULL, target);
        ck_assert_int_eq(find(HTTP_GET, target, "p", S, &id), EDGE_SIGNED_FOUND);
        ck_assert_int_eq(atoi(id + 1), i);
        ck_assert_int_eq(find(HTTP_POST, target, "p", S, &id), EDGE_SIGNED_UNKNOWN);
        sign("a.txt", "write", "user", token, "1700000000", target);
        ck_assert_int_eq(find(HTTP_POST, target, "p", S, &id), EDGE_SIGNED_FOUND);
        ck_assert_int_eq(atoi(id + 1), i);
        ck_assert_int_eq(find(HTTP_POST, target, "p", S, &id), EDGE_SIGNED_FOUND); /* remembered */
    }
    sign("a.txt", "read", "", "", NULL, target); /* of an open sandbox there is none */
    ck_assert_int_eq(find(HTTP_GET, target, "p", S, &id), EDGE_SIGNED_UNKNOWN);
    static const char *const wrong[] = {"/files?signature=", "/files?signature=v1_",
                                        "/files?signature=v1_x", "/files?signature=v2_aaaa",
                                        "/files?signature=v1_%zz"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_int_eq(find(HTTP_GET, wrong[i], "p", S, &id), EDGE_SIGNED_UNKNOWN);
}
END_TEST

START_TEST(edge_signed_counts_the_addresses_of_an_ipv6_site_as_one)
{
    char bad[1024], peer[64];
    const char *id = NULL;
    size_t looked = 0;
    sign("a", "read", "", "nobody's", NULL, bad);
    for (int i = 0; i < 2 * EDGE_SIGNED_PEER_BURST; i++) {
        (void)snprintf(peer, sizeof(peer), "2001:db8:7:%x::%x", i, i + 1);
        looked += find(HTTP_GET, bad, peer, S, &id) == EDGE_SIGNED_UNKNOWN;
    }
    ck_assert_uint_eq(looked, EDGE_SIGNED_PEER_BURST);
    ck_assert_int_eq(find(HTTP_GET, bad, "2001:db8:8::1", S, &id), EDGE_SIGNED_UNKNOWN);
}
END_TEST

START_TEST(edge_signed_bounds_what_the_wrong_ones_cost)
{
    char good[1024], bad[1024], token[EDGE_TOKEN_CAP];
    const char *id = NULL;
    size_t looked = 0, refused = 0;
    token_of(SANDBOXES - 1, token);
    sign("a", "read", "", token, NULL, good);
    sign("a", "read", "", "nobody's", NULL, bad);
    for (int i = 0; i < 200; i++)
        *(find(HTTP_GET, bad, "attacker", S, &id) == EDGE_SIGNED_LIMITED ? &refused : &looked) += 1;
    ck_assert_uint_eq(looked, EDGE_SIGNED_PEER_BURST);
    ck_assert_uint_eq(refused, 200 - EDGE_SIGNED_PEER_BURST);
    for (int i = 0; i < 200; i++) { /* others are right as often as they like */
        signatures->found[0][0] = '\0';
        ck_assert_int_eq(find(HTTP_GET, good, "client", S, &id), EDGE_SIGNED_FOUND);
    }
    ck_assert_int_eq(find(HTTP_GET, bad, "attacker", 2 * S, &id), EDGE_SIGNED_UNKNOWN);
    looked = 0;
    for (int i = 0; i < 5000; i++) {
        char peer[16];
        (void)snprintf(peer, sizeof(peer), "p%d", i);
        looked += find(HTTP_GET, bad, peer, 10 * S, &id) == EDGE_SIGNED_UNKNOWN;
    }
    ck_assert_uint_eq(looked, EDGE_SIGNED_BURST);
}
END_TEST

SUITE_MAIN_WITH("edge_signed", .fixtures = {{set_up, tear_down}},
                TESTS(edge_signed_knows_what_it_is_for, edge_signed_finds_whose_token_it_is,
                      edge_signed_counts_the_addresses_of_an_ipv6_site_as_one,
                      edge_signed_bounds_what_the_wrong_ones_cost))
