/* SPDX-License-Identifier: Apache-2.0 */
/* JSON documents: what jansson does, and each allocation failing once. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include "base/json.h"

static const char long_text[] =
    "{\"names\":[\"a\",\"b\",null,true,1.5,-7],\"deep\":{\"k\":{\"k\":[[[{}]]]}},"
    "\"long\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\\u00e9\\n\","
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\":1234567890123}";

START_TEST(json_reads_what_jansson_reads)
{
    json_error_t where;
    json_t *doc = adit_json_load(adit_view_str(long_text), JSON_REJECT_DUPLICATES, &where);

    ck_assert_ptr_nonnull(doc);
    ck_assert_uint_eq(json_array_size(json_object_get(doc, "names")), 6);
    json_decref(doc);
    ck_assert_ptr_null(
        adit_json_load(adit_view_str("{\"a\":1,\"a\":2}"), JSON_REJECT_DUPLICATES, &where));
    ck_assert_int_eq(json_error_code(&where), json_error_duplicate_key);
    ck_assert_ptr_null(adit_json_load(adit_view_mem(NULL, 0), 0, NULL));
}
END_TEST

START_TEST(json_documents_outlive_their_parse)
{
    json_t *first = adit_json_load(adit_view_str("[\"kept\",{\"a\":[1]}]"), 0, NULL);
    json_t *second = adit_json_load(adit_view_str("[2,[],{}]"), 0, NULL);

    ck_assert(first && second);
    ck_assert_int_eq(json_array_append_new(first, json_string("more")), 0);
    ck_assert_int_eq(json_array_extend(second, first), 0);
    json_decref(first);
    ck_assert_str_eq(json_string_value(json_array_get(second, 3)), "kept");
    json_decref(second);
}
END_TEST

START_TEST(json_each_failing_allocation_is_out_of_memory)
{
    json_t *doc = NULL;
    json_error_t where;

    if (!FAILING_MALLOC) {
        suite_skip("json_each_failing_allocation_is_out_of_memory", FAILING_MALLOC_NEEDS);
        return;
    }
    for (long n = 1; !doc; n++) {
        long before = failing_malloc.live;

        failing_malloc.countdown = n;
        doc = adit_json_load(adit_view_str(long_text), 0, &where);
        failing_malloc.countdown = 0;
        if (!doc) {
            ck_assert_int_eq(json_error_code(&where), json_error_out_of_memory);
            ck_assert_int_eq(failing_malloc.live, before);
        } else {
            ck_assert_int_gt(n, 20);
        }
    }
    json_decref(doc);
}
END_TEST

SUITE_MAIN("json", json_reads_what_jansson_reads, json_documents_outlive_their_parse,
           json_each_failing_allocation_is_out_of_memory)
