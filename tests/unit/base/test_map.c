/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map, also against a plain array as a model. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#include "base/map.h"

static int values[5000];

START_TEST(map_is_empty_at_first)
{
    struct adit_map m;
    size_t pos = 0;
    struct adit_view key;
    void *value;
    adit_map_init(&m);
    ck_assert_ptr_null(adit_map_get(&m, adit_view_str("a")));
    ck_assert_ptr_null(adit_map_del(&m, adit_view_str("a")));
    ck_assert(!adit_map_next(&m, &pos, &key, &value));
    adit_map_fini(&m);
}
END_TEST

START_TEST(map_copies_keys_and_replaces_values)
{
    struct adit_map m;
    char key[] = "key";
    adit_map_init(&m);
    ck_assert_int_eq(adit_map_put(&m, adit_view_str(key), &values[0]), 0);
    key[0] = 'x';
    ck_assert_ptr_eq(adit_map_get(&m, adit_view_str("key")), &values[0]);
    ck_assert_int_eq(adit_map_put(&m, adit_view_str("key"), &values[1]), 0);
    ck_assert_ptr_eq(adit_map_get(&m, adit_view_str("key")), &values[1]);
    ck_assert_uint_eq(m.len, 1);
    adit_map_fini(&m);
}
END_TEST

START_TEST(map_needs_no_memory_to_replace)
{
    struct adit_map m;
    char key[2] = "a";
    if (!FAILING_MALLOC) {
        suite_skip("map_needs_no_memory_to_replace", FAILING_MALLOC_NEEDS);
        return;
    }
    adit_map_init(&m);
    for (; m.len < 12; key[0]++) /* one more, and the table has to grow */
        ck_assert_int_eq(adit_map_put(&m, adit_view_str(key), &values[0]), 0);
    failing_malloc.countdown = 1;
    int replaced = adit_map_put(&m, adit_view_str("a"), &values[1]);
    int inserted = adit_map_put(&m, adit_view_str("new"), &values[2]);
    failing_malloc.countdown = 0;
    ck_assert_int_eq(replaced, 0);
    ck_assert_int_eq(inserted, ADIT_ERR_NO_MEMORY);
    ck_assert_ptr_eq(adit_map_get(&m, adit_view_str("a")), &values[1]);
    ck_assert_uint_eq(m.len, 12);
    adit_map_fini(&m);
}
END_TEST

START_TEST(map_keys_are_bytes)
{
    struct adit_map m;
    adit_map_init(&m);
    for (size_t i = 0; i <= 64; i++)
        ck_assert_int_eq(adit_map_put(&m, adit_view_mem(values, i), &values[i]), 0);
    ck_assert_uint_eq(m.len, 65);
    for (size_t i = 0; i <= 64; i++)
        ck_assert_ptr_eq(adit_map_get(&m, adit_view_mem(values, i)), &values[i]);
    ck_assert_ptr_eq(adit_map_del(&m, adit_view_mem(NULL, 0)), &values[0]);
    ck_assert_ptr_null(adit_map_get(&m, adit_view_mem(NULL, 0)));
    adit_map_fini(&m);
}
END_TEST

static struct adit_view name_of(unsigned i, char out[16])
{
    return adit_view_mem(out, (size_t)sprintf(out, "k%u", i));
}

START_TEST(map_agrees_with_a_model)
{
    static int *model[5000];
    struct adit_map m;
    size_t len = 0;
    unsigned seed = 7;
    adit_map_init(&m);
    for (int step = 0; step < 200000; step++) {
        char name[16];
        seed = seed * 1103515245 + 12345;
        unsigned i = (seed >> 8) % 5000;
        struct adit_view key = name_of(i, name);
        ck_assert_ptr_eq(adit_map_get(&m, key), model[i]);
        if (seed & 0x80000000) {
            ck_assert_int_eq(adit_map_put(&m, key, &values[i]), 0);
            len += !model[i];
            model[i] = &values[i];
        } else {
            ck_assert_ptr_eq(adit_map_del(&m, key), model[i]);
            len -= !!model[i];
            model[i] = NULL;
        }
        ck_assert_uint_eq(m.len, len);
    }

    size_t pos = 0, seen = 0;
    struct adit_view key;
    void *value;
    while (adit_map_next(&m, &pos, &key, &value)) {
        char name[16];
        unsigned i = (unsigned)((int *)value - values);
        ck_assert(adit_view_eq(key, name_of(i, name)));
        ck_assert_ptr_eq(model[i], value);
        seen++;
    }
    ck_assert_uint_eq(seen, len);
    adit_map_fini(&m);
    ck_assert_uint_eq(m.len, 0);
}
END_TEST

SUITE_MAIN("map", map_is_empty_at_first, map_copies_keys_and_replaces_values,
           map_needs_no_memory_to_replace, map_keys_are_bytes, map_agrees_with_a_model)
