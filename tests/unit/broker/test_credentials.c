/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, keys and tokens: which spellings are taken, how long a key is remembered, what a seed gives.
 */
#include "tests/unit/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "broker/admin_token.h"
#include "broker/client_env.h"
#include "broker/key_cache.h"
#include "broker/sandbox_id.h"
#include "broker/tokens.h"

static const struct {
    const char *text, *id; /* NULL: refused */
} ids[] = {
    {"iabc0123456789xyz", "iabc0123456789xyz"},
    {"iabc-6532622b", "iabc"},
    {"iabc-", "iabc"},
    {"iabc-x-y", NULL},
    {"iabc--", NULL},
    {"-iabc", NULL},
    {"", NULL},
    {"IABC", NULL},
    {"i/abc", NULL},
    {"..", NULL},
    {"i.bc", NULL},
    {"i bc", NULL},
    {"i\xc3\xa4", NULL},
    {"i{bc", NULL},
    {"i:bc", NULL},
    {"i234567890123456789012345678901234567890123456789012345678901234", NULL},
};

START_TEST(sandbox_id_takes_ids_and_old_forms_of_them)
{
    char id[SANDBOX_ID_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    int rc = sandbox_id_parse(adit_view_str(ids[_i].text), id, &err);
    if (ids[_i].id) {
        ck_assert_int_eq(rc, 0);
        ck_assert_str_eq(id, ids[_i].id);
    } else {
        ck_assert_int_eq(rc, ADIT_ERR_BAD_INPUT);
        ck_assert_str_eq(err.msg, "Invalid sandbox ID");
    }
}
END_TEST

START_TEST(sandbox_id_is_made_as_it_is_taken)
{
    char id[SANDBOX_ID_CAP], other[SANDBOX_ID_CAP];
    sandbox_id_make(id);
    sandbox_id_make(other);
    ck_assert_uint_eq(strlen(id), SANDBOX_ID_LEN);
    ck_assert_int_eq(id[0], 'i');
    ck_assert(sandbox_id_is_valid(adit_view_str(id)));
    ck_assert_str_ne(id, other);
}
END_TEST

static const char *const bad_keys[] = {
    "",
    "e2b_",
    "e2b_a",
    "e2b_AB",
    "e2b_ag",
    "e2b_0!",
    "e2b_a{",
    "e2b_a:",
    "e2b_0",
    "E2B_ab",
    "sk_e2b_ab",
    "e2b_ab ",
    " e2b_ab",
    "e2b_ab\n",
    "Bearer e2b_ab",
    /* 65 bytes in hexadecimal */
    ("e2b_0000000000000000000000000000000000000000000000000000000000000000"
     "000000000000000000000000000000000000000000000000000000000000000000"),
};

START_TEST(key_cache_refuses_what_is_no_key)
{
    uint8_t hash[ADIT_SHA256_LEN];
    ck_assert_int_eq(key_cache_hash(adit_view_str(bad_keys[_i]), hash), ADIT_ERR_UNAUTHENTICATED);
}
END_TEST

START_TEST(key_cache_hashes_the_decoded_bytes)
{
    uint8_t hash[ADIT_SHA256_LEN];
    char hex[2 * ADIT_SHA256_LEN + 1];
    ck_assert_int_eq(key_cache_hash(adit_view_str("e2b_616263"), hash), 0); /* "abc" */
    adit_hex_encode(hash, sizeof(hash), hex);
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(key_cache_forgets_after_its_time)
{
    struct key_cache c;
    struct key_identity red = {"k1", "red", 60}, got;
    uint8_t hash[ADIT_SHA256_LEN] = {1}, other[ADIT_SHA256_LEN] = {2};
    const uint64_t t = 77, ttl = KEY_CACHE_TTL_MS * UINT64_C(1000000);
    key_cache_init(&c);
    ck_assert(!key_cache_get(&c, hash, t, &got));
    key_cache_put(&c, hash, t, &red);
    ck_assert(key_cache_get(&c, hash, t + ttl - 1, &got));
    ck_assert(strcmp(got.team_id, "red") == 0 && strcmp(got.key_id, "k1") == 0);
    ck_assert_uint_eq(got.timeout_max_s, 60);
    ck_assert(!key_cache_get(&c, other, t, &got));
    ck_assert(!key_cache_get(&c, hash, t + ttl, &got));
    ck_assert(!key_cache_get(&c, hash, t, &got)); /* it is gone, not hidden */
    key_cache_put(&c, hash, t, &red);
    key_cache_drop(&c, hash);
    ck_assert(!key_cache_get(&c, hash, t, &got));
    key_cache_fini(&c);
}
END_TEST

START_TEST(key_cache_stays_bounded)
{
    struct key_identity red = {"k1", "red", 0};
    struct key_cache c;
    key_cache_init(&c);
    for (uint32_t i = 0; i < 2 * KEY_CACHE_MAX; i++) {
        uint8_t hash[ADIT_SHA256_LEN] = {0};
        memcpy(hash, &i, sizeof(i));
        key_cache_put(&c, hash, 1, &red);
        ck_assert_uint_le(c.by_hash.len, KEY_CACHE_MAX);
    }
    key_cache_fini(&c);
}
END_TEST

START_TEST(tokens_stay_the_same_over_restarts_and_differ_by_sandbox_and_use)
{
    char dir[] = "/tmp/adit-tokens-XXXXXX", path[64];
    struct tokens a, b;
    char x[TOKENS_CAP], y[TOKENS_CAP];
    struct stat st;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/seed", dir);
    ck_assert_int_eq(tokens_load(dir, &a, NULL), 0);
    ck_assert_int_eq(tokens_load(dir, &b, NULL), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    tokens_envd(&a, "iabc", 0, x);
    tokens_envd(&b, "iabc", 0, y);
    ck_assert_str_eq(x, y);
    ck_assert_uint_eq(strlen(x), 64);
    tokens_envd(&a, "iabd", 0, y);
    ck_assert_str_ne(x, y);
    tokens_envd(&a, "iabc", 1, y);
    ck_assert_str_ne(x, y);
    tokens_traffic(&a, "iabc", 0, y);
    ck_assert_str_ne(x, y);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("too short\n", f);
    fclose(f);
    ck_assert_int_eq(tokens_load(dir, &a, NULL), ADIT_ERR_BAD_INPUT);
    unlink(path);
    rmdir(dir);
}
END_TEST

START_TEST(client_env_finds_its_key_again)
{
    char key[CLIENT_ENV_KEY_CAP];
    ck_assert_int_eq(
        client_env_find_key(adit_view_str("export A='b'\nexport E2B_API_KEY='e2b_12'\n"), key), 0);
    ck_assert_str_eq(key, "e2b_12");
    ck_assert_int_eq(client_env_find_key(adit_view_str("export E2B_API_KEY='e2b_12"), key),
                     ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(client_env_find_key(adit_view_str("export E2B_API_KEY=''\n"), key),
                     ADIT_ERR_NOT_FOUND);
    static const char torn[] = "export E2B_API_KEY='\0e2b_12'\n";
    ck_assert_int_eq(client_env_find_key(adit_view_mem(torn, sizeof(torn) - 1), key),
                     ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(client_env_find_key(adit_view_str(""), key), ADIT_ERR_NOT_FOUND);
}
END_TEST

/* The broker's user could write what root's shell evaluates. */
START_TEST(client_env_prints_nothing_that_a_shell_would_do)
{
    static const char *const odd[] = {
        "touch /x\n",
        "export E2B_API_KEY='a'; touch /x\n",
        "export E2B_API_KEY='a'$(touch /x)'b'\n",
        "export E2B_API_KEY=$(touch /x)\n",
        "export E2B_API_KEY='a\n'\n",
        "export E2B_API_KEY='a\x1b]0;x'\n",
        "export E2B_API_KEY='\n",
        "export E2B_API_KEY='a'",
        "export PATH='/x'\n",
        "export LD_PRELOAD='/x'\n",
        "export E2B_API_KEY PATH='/x'\n",
        "unset E2B_API_URL E2B_SANDBOX_URL; x\n",
        "\n",
    };
    ck_assert(client_env_is_plain(adit_view_str("unset E2B_API_URL E2B_SANDBOX_URL\n"
                                                "export E2B_API_KEY='e2b_12'\n"
                                                "export E2B_DOMAIN='a.b'\n"
                                                "export SSL_CERT_FILE='/a b/ca.crt'\n")));
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        ck_assert_msg(!client_env_is_plain(adit_view_str(odd[i])), "%s", odd[i]);
}
END_TEST

START_TEST(client_env_names_an_address_that_can_be_reached)
{
    static const struct {
        const char *listen, *url;
    } rows[] = {{"127.0.0.1:3000", "http://127.0.0.1:4000"},
                {":3000", "http://127.0.0.1:4000"},
                {"0.0.0.0:0", "http://127.0.0.1:4000"},
                {"[::]:0", "http://127.0.0.1:4000"},
                {"[::1]:0", "http://[::1]:4000"},
                {"10.1.2.3:80", "http://10.1.2.3:4000"},
                {"tls::443", "https://127.0.0.1:4000"},
                {"tls:[::1]:443", "https://[::1]:4000"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client_env_address a;
        client_env_address(rows[i].listen, 4000, "localhost", &a);
        ck_assert_str_eq(a.api_url, rows[i].url);
        ck_assert_str_eq(a.sandbox_url, rows[i].url);
        ck_assert(!a.is_domain);
    }
}
END_TEST

START_TEST(client_env_names_the_domain_when_there_is_tls)
{
    struct client_env_address a;
    client_env_address("tls:10.1.2.3:443", 443, "adit.test", &a);
    ck_assert(a.is_domain);
    client_env_address("tls::8443", 8443, "adit.test", &a);
    ck_assert_str_eq(a.api_url, "https://api.adit.test:8443");
    ck_assert_str_eq(a.sandbox_url, "https://sandbox.adit.test:8443");
    ck_assert(!a.is_domain);
    client_env_address("127.0.0.1:443", 443, "adit.test", &a);
    ck_assert_str_eq(a.api_url, "http://127.0.0.1:443");
    ck_assert(!a.is_domain);
}
END_TEST

START_TEST(tokens_refuse_a_seed_that_is_not_theirs)
{
    static const char *const bad[] = {
        "",
        "\n",
        "00",
        "000000000000000000000000000000000000000000000000000000000000000g",
        "00000000000000000000000000000000000000000000000000000000000000000",
    };
    char dir[] = "/tmp/adit-tokens-XXXXXX", path[64];
    struct tokens t;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/seed", dir);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(bad[i], f), 0);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_int_eq(tokens_load(dir, &t, &err), ADIT_ERR_BAD_INPUT);
    }
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(tokens_load(dir, &t, &err), ADIT_ERR_NOT_FOUND);
}
END_TEST

START_TEST(tokens_sandbox_id_belongs_to_team_and_key)
{
    struct tokens t = {{1}}, other = {{2}};
    char a[SANDBOX_ID_CAP], b[SANDBOX_ID_CAP];
    tokens_sandbox_id(&t, "team", adit_view_str("key"), a);
    tokens_sandbox_id(&t, "team", adit_view_str("key"), b);
    ck_assert(sandbox_id_is_valid(adit_view_str(a)));
    ck_assert_str_eq(a, b);
    tokens_sandbox_id(&t, "team", adit_view_str("key2"), b);
    ck_assert_str_ne(a, b);
    tokens_sandbox_id(&t, "teamk", adit_view_str("ey"), b);
    ck_assert_str_ne(a, b);
    tokens_sandbox_id(&other, "team", adit_view_str("key"), b);
    ck_assert_str_ne(a, b);
}
END_TEST

/* ---- the admin token ---- */

static char admin_dir[] = "/tmp/adit-admin-XXXXXX", admin_file[64];

static void write_token(const char *text, mode_t mode)
{
    FILE *f = fopen(admin_file, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(admin_file, mode), 0);
}

START_TEST(admin_token_is_made_once_and_read_again)
{
    struct admin_token a, b;
    struct stat st;
    char text[128] = "";
    ck_assert_ptr_nonnull(mkdtemp(admin_dir));
    (void)snprintf(admin_file, sizeof(admin_file), "%s/" ADMIN_TOKEN_FILE, admin_dir);
    ck_assert_int_eq(admin_token_load(admin_dir, "", &a, NULL), 0);
    ck_assert(stat(admin_file, &st) == 0 && (st.st_mode & 0777) == 0600);
    FILE *f = fopen(admin_file, "r");
    ck_assert(f && fgets(text, sizeof(text), f) && fclose(f) == 0);
    text[strcspn(text, "\n")] = '\0';
    ck_assert_int_eq(admin_token_load(admin_dir, "", &b, NULL), 0);
    ck_assert(admin_token_matches(&b, adit_view_str(text)));
    ck_assert(!admin_token_matches(&b, adit_view_str("")));
    ck_assert(!admin_token_matches(&b, adit_view_mem(text, strlen(text) - 1)));
    ck_assert_int_eq(unlink(admin_file) | rmdir(admin_dir), 0);
}
END_TEST

START_TEST(admin_token_refuses_what_others_may_read_and_what_is_none)
{
    struct admin_token t;
    struct adit_err err = ADIT_ERR_INIT;
    char digest[128] = "sha256:";
    uint8_t sha256[ADIT_SHA256_LEN];
    ck_assert_ptr_nonnull(mkdtemp(admin_dir));
    (void)snprintf(admin_file, sizeof(admin_file), "%s/mine", admin_dir);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), ADIT_ERR_NOT_FOUND);
    write_token("correct horse battery", 0600); /* a space */
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), ADIT_ERR_BAD_INPUT);
    write_token("too-short", 0600);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), ADIT_ERR_BAD_INPUT);
    write_token("long-enough-to-be-one\n", 0640);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "mode 0640"));
    write_token("long-enough-to-be-one\n", 0400);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), 0);
    ck_assert(admin_token_matches(&t, adit_view_str("long-enough-to-be-one")));
    adit_sha256(adit_view_str("long-enough-to-be-two"), sha256);
    adit_hex_encode(sha256, sizeof(sha256), digest + strlen(digest));
    ck_assert_int_eq(unlink(admin_file), 0);
    write_token(digest, 0600);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), 0);
    ck_assert(admin_token_matches(&t, adit_view_str("long-enough-to-be-two")));
    ck_assert(!admin_token_matches(&t, adit_view_str(digest)));
    write_token("sha256:0011", 0600);
    ck_assert_int_eq(admin_token_load(admin_dir, admin_file, &t, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(unlink(admin_file) | rmdir(admin_dir), 0);
}
END_TEST

SUITE_MAIN_WITH(
    "credentials",
    TESTS(tokens_refuse_a_seed_that_is_not_theirs, tokens_sandbox_id_belongs_to_team_and_key,
          sandbox_id_is_made_as_it_is_taken, key_cache_hashes_the_decoded_bytes,
          key_cache_forgets_after_its_time, key_cache_stays_bounded,
          tokens_stay_the_same_over_restarts_and_differ_by_sandbox_and_use,
          client_env_finds_its_key_again, client_env_prints_nothing_that_a_shell_would_do,
          client_env_names_an_address_that_can_be_reached, admin_token_is_made_once_and_read_again,
          admin_token_refuses_what_others_may_read_and_what_is_none,
          client_env_names_the_domain_when_there_is_tls),
    LOOPS({sandbox_id_takes_ids_and_old_forms_of_them, sizeof(ids) / sizeof(ids[0])},
          {key_cache_refuses_what_is_no_key, sizeof(bad_keys) / sizeof(bad_keys[0])}))
