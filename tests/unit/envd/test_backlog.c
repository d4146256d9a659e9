/* SPDX-License-Identifier: Apache-2.0 */
/* The last output of a process: what is kept, what is lost, within which limits. */
#include <stdlib.h>

#include "../failing_malloc.h"
#include "../suite.h"
#include "envd/process/backlog.h"

static struct backlog_budget budget;
static struct backlog b;

static void setup(void)
{
    budget.used = 0;
    backlog_init(&b, &budget);
}

static void teardown(void)
{
    backlog_clear(&b);
    ck_assert_uint_eq(b.held, 0);
    ck_assert_uint_eq(budget.used, 0);
}

/* The byte of a position, and the output that it is written to. */
static unsigned char byte_at(uint64_t at)
{
    return (unsigned char)(at * 31 + (at >> 8));
}

static void put(struct backlog *to, unsigned kind, size_t len)
{
    unsigned char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(to->end + i);
    backlog_put(to, kind, adit_view_mem(bytes, len));
    free(bytes);
}

/* Read all that is kept from @at on. Return: the pieces that it came in. */
static size_t check_from(const struct backlog *from, uint64_t at)
{
    size_t pieces = 0;
    while (at < from->end) {
        unsigned kind;
        struct adit_view v;
        backlog_get(from, at, &kind, &v);
        if (v.len < 1 || v.len > from->end - at)
            ck_abort_msg("%zu bytes at %llu", v.len, (unsigned long long)at);
        for (size_t i = 0; i < v.len; i++)
            if ((unsigned char)v.ptr[i] != byte_at(at + i)) /* an assertion costs a system call */
                ck_abort_msg("another byte at %llu", (unsigned long long)(at + i));
        at += v.len;
        pieces++;
    }
    return pieces;
}

START_TEST(backlog_keeps_everything_until_it_is_full)
{
    for (size_t total = 0; total < 900 * 1024; total += 1000)
        put(&b, 1, 1000);
    ck_assert_uint_eq(b.begin, 0);
    check_from(&b, 0);
    for (int i = 0; i < 5000; i++)
        put(&b, 1, 1000);
    ck_assert_uint_ge(b.end - b.begin, 1024 * 1024);
    ck_assert_uint_le(b.held, BACKLOG_CAP);
    check_from(&b, b.begin);
}
END_TEST

START_TEST(backlog_tells_outputs_apart_and_joins_what_belongs_together)
{
    put(&b, 1, 10);
    put(&b, 1, 10);
    put(&b, 2, 5);
    put(&b, 1, 1);
    unsigned kind;
    struct adit_view v;
    backlog_get(&b, 3, &kind, &v);
    ck_assert_uint_eq(kind, 1);
    ck_assert_uint_eq(v.len, 17);
    backlog_get(&b, 20, &kind, &v);
    ck_assert_uint_eq(kind, 2);
    ck_assert_uint_eq(v.len, 5);
    ck_assert_uint_eq(check_from(&b, 0), 3);
}
END_TEST

START_TEST(backlog_of_tiny_pieces_is_right_from_every_position)
{
    for (unsigned i = 0; i < 3000; i++)
        put(&b, i % 3, 1 + i % 7);
    for (uint64_t at = b.begin; at < b.end; at += 97)
        check_from(&b, at);
}
END_TEST

START_TEST(backlog_of_alternating_bytes_stays_within_its_memory)
{
    for (unsigned i = 0; i < 400000; i++)
        put(&b, i & 1, 1);
    ck_assert_uint_le(b.held, BACKLOG_CAP);
    ck_assert_uint_gt(b.end - b.begin, 150 * 1024);
    check_from(&b, b.begin);
}
END_TEST

START_TEST(backlog_piece_larger_than_all_keeps_its_end)
{
    put(&b, 0, 3 * BACKLOG_CAP);
    ck_assert_uint_eq(b.end, 3 * BACKLOG_CAP);
    ck_assert_uint_ge(b.end - b.begin, 1024 * 1024);
    check_from(&b, b.begin);
}
END_TEST

START_TEST(backlog_that_comes_late_does_with_what_it_holds)
{
    enum { CNT = 24 };
    struct backlog many[CNT];
    for (int i = 0; i < CNT; i++) {
        backlog_init(&many[i], &budget);
        put(&many[i], 0, 2 * 1024 * 1024);
        ck_assert_uint_le(budget.used, BACKLOG_ALL_MAX);
        check_from(&many[i], many[i].begin);
    }
    ck_assert_uint_eq(many[CNT - 1].end, 2 * 1024 * 1024);
    backlog_clear(&many[0]);
    put(&many[CNT - 1], 0, 100 * 1024);
    ck_assert_uint_ge(many[CNT - 1].end - many[CNT - 1].begin, 50 * 1024);
    check_from(&many[CNT - 1], many[CNT - 1].begin);
    for (int i = 1; i < CNT; i++)
        backlog_clear(&many[i]);
}
END_TEST

START_TEST(backlog_without_memory_counts_on)
{
    char bytes[100] = {0};
    if (!FAILING_MALLOC) {
        suite_skip("backlog_without_memory_counts_on", FAILING_MALLOC_NEEDS);
        return;
    }
    failing_malloc.countdown = 1;
    backlog_put(&b, 0, adit_view_mem(bytes, sizeof bytes));
    ck_assert_int_eq(failing_malloc.countdown, 0);
    ck_assert_uint_eq(b.begin, 100);
    ck_assert_uint_eq(b.end, 100);
    put(&b, 0, 50);
    ck_assert_uint_eq(b.begin, 100);
    check_from(&b, 100);
}
END_TEST

SUITE_MAIN_WITH("backlog", .fixtures = {{setup, teardown}},
                TESTS(backlog_keeps_everything_until_it_is_full,
                      backlog_tells_outputs_apart_and_joins_what_belongs_together,
                      backlog_of_tiny_pieces_is_right_from_every_position,
                      backlog_of_alternating_bytes_stays_within_its_memory,
                      backlog_piece_larger_than_all_keeps_its_end,
                      backlog_that_comes_late_does_with_what_it_holds,
                      backlog_without_memory_counts_on))
