/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes and identifiers. */
#include "tests/unit/suite.h"

#include <string.h>

#include "base/rand.h"

START_TEST(rand_bytes_fill_all_and_differ)
{
    static unsigned char a[100000], b[100000];
    unsigned counts[256] = {0};
    adit_rand_bytes(a, sizeof a);
    adit_rand_bytes(b, sizeof b);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
    for (size_t i = 0; i < sizeof a; i++)
        counts[a[i]]++;
    for (int i = 0; i < 256; i++) /* 391 expected; 8 standard deviations are 158 */
        ck_assert(counts[i] > 230 && counts[i] < 550);
    ck_assert_uint_ne(adit_rand_u64(), adit_rand_u64());
}
END_TEST

START_TEST(rand_id_uses_every_letter_evenly)
{
    static char id[36001];
    unsigned counts[256] = {0};
    adit_rand_id(id, 36000);
    ck_assert_uint_eq(strlen(id), 36000);
    ck_assert_uint_eq(strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789"), 36000);
    for (size_t i = 0; i < 36000; i++)
        counts[(unsigned char)id[i]]++;
    for (const char *c = "az09m"; *c; c++) /* 1000 expected; 8 standard deviations are 250 */
        ck_assert(counts[(unsigned char)*c] > 750 && counts[(unsigned char)*c] < 1250);
    adit_rand_id(id, 0);
    ck_assert_str_eq(id, "");
}
END_TEST

START_TEST(rand_hex_has_two_digits_a_byte)
{
    char hex[201];
    adit_rand_hex(hex, 100);
    ck_assert_uint_eq(strlen(hex), 200);
    ck_assert_uint_eq(strspn(hex, "0123456789abcdef"), 200);
    adit_rand_hex(hex, 0);
    ck_assert_str_eq(hex, "");
}
END_TEST

START_TEST(rand_uuid_is_version_4)
{
    char a[37], b[37];
    adit_rand_uuid(a);
    adit_rand_uuid(b);
    ck_assert_str_ne(a, b);
    ck_assert_uint_eq(strlen(a), 36);
    for (size_t i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            ck_assert_int_eq(a[i], '-');
        else
            ck_assert_ptr_nonnull(strchr("0123456789abcdef", a[i]));
    }
    ck_assert_int_eq(a[14], '4');
    ck_assert_ptr_nonnull(strchr("89ab", a[19]));
}
END_TEST

SUITE_MAIN("rand", rand_bytes_fill_all_and_differ, rand_id_uses_every_letter_evenly,
           rand_hex_has_two_digits_a_byte, rand_uuid_is_version_4)
