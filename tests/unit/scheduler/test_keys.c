/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: their form, and looking them up. */
#include "tests/unit/suite.h"

#include <ctype.h>
#include <stdio.h>

#include "scheduler/message.h"
#include "secret.h"

static int put(struct keys *k, const char *id, const char *secret, int revoked)
{
    Scheduler__Key key;
    Scheduler__Store__KeyRecord record;
    uint8_t sha256[ADIT_SHA256_LEN];
    char key_id[64];
    scheduler__key__init(&key);
    scheduler__store__key_record__init(&record);
    snprintf(key_id, sizeof(key_id), "%s", id);
    hash_secret(secret, sha256);
    key.key_id = key_id;
    key.revoked = revoked;
    record.key = &key;
    record.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    return keys_put(k, message_clone(&record.base), NULL);
}

START_TEST(keys_have_the_form_that_clients_check)
{
    char secret[KEYS_SECRET_CAP], masked[KEYS_MASKED_CAP], expected[64];
    uint8_t sha256[ADIT_SHA256_LEN], again[ADIT_SHA256_LEN];
    keys_generate(secret, masked, sha256);
    ck_assert_uint_eq(strlen(secret), 44);
    ck_assert_int_eq(strncmp(secret, "e2b_", 4), 0);
    for (const char *p = secret + 4; *p; p++)
        ck_assert((isdigit((unsigned char)*p) || (*p >= 'a' && *p <= 'f')));
    snprintf(expected, sizeof(expected), "e2b_%.2s…%s", secret + 4, secret + 40);
    ck_assert_str_eq(masked, expected);
    hash_secret(secret, again);
    ck_assert_mem_eq(sha256, again, sizeof(again));
}
END_TEST

START_TEST(keys_are_never_made_twice)
{
    char a[KEYS_SECRET_CAP], b[KEYS_SECRET_CAP], masked[KEYS_MASKED_CAP];
    uint8_t sha256[ADIT_SHA256_LEN];
    keys_generate(a, masked, sha256);
    keys_generate(b, masked, sha256);
    ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(keys_take_what_was_committed_beyond_the_maximum)
{
    struct keys k;
    char id[16], secret[KEYS_SECRET_CAP], masked[KEYS_MASKED_CAP];
    uint8_t sha256[ADIT_SHA256_LEN];
    keys_init(&k);
    for (int i = 0; i <= KEYS_MAX; i++) { /* a store that has them must load */
        snprintf(id, sizeof(id), "k%d", i);
        keys_generate(secret, masked, sha256);
        ck_assert_int_eq(put(&k, id, secret, 0), 0);
    }
    ck_assert_uint_eq(keys_cnt(&k), KEYS_MAX + 1);
    keys_fini(&k);
}
END_TEST

START_TEST(keys_authenticate_until_they_are_revoked)
{
    static const char secret[] = "e2b_0123456789abcdef0123456789abcdef01234567";
    const Scheduler__Store__KeyRecord *found = NULL;
    uint8_t sha256[ADIT_SHA256_LEN];
    struct keys k;
    keys_init(&k);
    hash_secret(secret, sha256);
    ck_assert_int_eq(keys_authenticate(&k, sha256, &found, NULL), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(put(&k, "id1", secret, 0), 0);
    ck_assert_int_eq(keys_authenticate(&k, sha256, &found, NULL), 0);
    ck_assert_str_eq(found->key->key_id, "id1");
    ck_assert_int_eq(put(&k, "id1", secret, 1), 0);
    ck_assert_uint_eq(keys_cnt(&k), 1);
    ck_assert_int_eq(keys_authenticate(&k, sha256, &found, NULL), ADIT_ERR_NOT_FOUND);
    keys_fini(&k);
}
END_TEST

START_TEST(keys_are_found_by_an_unambiguous_beginning)
{
    const Scheduler__Store__KeyRecord *found = NULL;
    struct keys k;
    keys_init(&k);
    ck_assert_int_eq(put(&k, "abc1", "e2b_0123456789abcdef0123456789abcdef01234567", 0), 0);
    ck_assert_int_eq(put(&k, "abd2", "e2b_1123456789abcdef0123456789abcdef01234567", 0), 0);
    ck_assert_int_eq(keys_find(&k, "abc", "", &found, NULL), 0);
    ck_assert_str_eq(found->key->key_id, "abc1");
    ck_assert_int_eq(keys_find(&k, "abd2", "", &found, NULL), 0);
    ck_assert_int_eq(keys_find(&k, "ab", "", &found, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(keys_find(&k, "", "", &found, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(keys_find(&k, "x", "", &found, NULL), ADIT_ERR_NOT_FOUND);
    keys_fini(&k);
}
END_TEST

START_TEST(keys_refuse_records_without_their_parts)
{
    Scheduler__Store__KeyRecord record;
    struct keys k;
    keys_init(&k);
    scheduler__store__key_record__init(&record);
    ck_assert_int_eq(keys_put(&k, message_clone(&record.base), NULL), ADIT_ERR_BAD_INPUT);
    keys_fini(&k);
}
END_TEST

SUITE_MAIN("keys", keys_have_the_form_that_clients_check, keys_are_never_made_twice,
           keys_take_what_was_committed_beyond_the_maximum,
           keys_authenticate_until_they_are_revoked, keys_are_found_by_an_unambiguous_beginning,
           keys_refuse_records_without_their_parts)
