/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of guest memory: what lies within, at every edge, and which pages are marked. */
#include "vsock-device/guestmem.h"

#include "tests/unit/suite.h"

static uint8_t low[4 * GUESTMEM_LOG_PAGE], high[3 * GUESTMEM_LOG_PAGE];

#define LOW_ADDR 0x0ull
#define HIGH_ADDR 0x100000000ull
#define LOW_USER 0x10000ull
#define HIGH_USER 0x7f0000000000ull

static const struct guestmem_region regions[] = {
    {LOW_ADDR, LOW_USER, sizeof(low), low},
    {HIGH_ADDR, HIGH_USER, sizeof(high), high},
};

static struct guestmem mem;

static void setup(void)
{
    mem = (struct guestmem){0};
    ck_assert_int_eq(guestmem_set(&mem, regions, 2, NULL), ADIT_OK);
}

static void teardown(void)
{
}

/* What is looked up at an offset of the second region, by the guest's and the front end's address.
 */
static void expect(uint64_t offset, uint64_t len, const uint8_t *want)
{
    ck_assert_ptr_eq(guestmem_at(&mem, HIGH_ADDR + offset, len), want);
    ck_assert_ptr_eq(guestmem_at_user(&mem, HIGH_USER + offset, len), want);
}

START_TEST(guestmem_finds_what_is_whole_within_a_region)
{
    ck_assert_ptr_eq(guestmem_at(&mem, 0, sizeof(low)), low);
    ck_assert_ptr_eq(guestmem_at_user(&mem, LOW_USER, 1), low);
    expect(0, sizeof(high), high);
    expect(0, 1, high);
    expect(sizeof(high) - 1, 1, high + sizeof(high) - 1);
    expect(100, sizeof(high) - 100, high + 100);
}
END_TEST

START_TEST(guestmem_finds_nothing_beyond_an_edge)
{
    expect(0, sizeof(high) + 1, NULL);
    expect(1, sizeof(high), NULL);
    expect(sizeof(high), 1, NULL);
    expect(sizeof(high) - 1, 2, NULL);
    expect((uint64_t)-1, 1, NULL);
    expect((uint64_t)-1, 2, NULL);
    expect(0, 0, NULL);
    expect(10, 0, NULL);
    expect(sizeof(high), 0, NULL);
    ck_assert_ptr_null(guestmem_at(&mem, sizeof(low), 1));
    ck_assert_ptr_null(guestmem_at(&mem, sizeof(low) - 1, 2));
}
END_TEST

START_TEST(guestmem_does_not_wrap)
{
    static const uint64_t addrs[] = {1, HIGH_ADDR, HIGH_ADDR + 1, UINT64_MAX, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
        ck_assert_ptr_null(guestmem_at(&mem, addrs[i], UINT64_MAX));
        ck_assert_ptr_null(guestmem_at(&mem, addrs[i], UINT64_MAX - addrs[i]));
        ck_assert_ptr_null(guestmem_at(&mem, addrs[i], UINT64_MAX - addrs[i] + 1));
        ck_assert_ptr_null(guestmem_at(&mem, addrs[i], UINT64_MAX - addrs[i] + 2));
    }
}
END_TEST

START_TEST(guestmem_regions_that_touch_are_not_one)
{
    static const struct guestmem_region both[] = {
        {0, 0, 4096, low},
        {4096, 4096, 4096, high},
    };
    ck_assert_int_eq(guestmem_set(&mem, both, 2, NULL), ADIT_OK);
    ck_assert_ptr_eq(guestmem_at(&mem, 4095, 1), low + 4095);
    ck_assert_ptr_eq(guestmem_at(&mem, 4096, 1), high);
    ck_assert_ptr_null(guestmem_at(&mem, 4095, 2));
    ck_assert_ptr_null(guestmem_at_user(&mem, 4095, 2));
}
END_TEST

static const struct {
    const char *why;
    int code;
    size_t cnt;
    struct guestmem_region regions[GUESTMEM_REGIONS_MAX + 1];
} bad_tables[] = {
    {"no memory region", ADIT_ERR_PROTOCOL, 0, {{0}}},
    {"9 memory regions, at most 8", ADIT_ERR_LIMIT, GUESTMEM_REGIONS_MAX + 1, {{0}}},
    {"memory region 0 is empty or wraps", ADIT_ERR_PROTOCOL, 1, {{0, 0, 0, low}}},
    {"memory region 0 is empty or wraps", ADIT_ERR_PROTOCOL, 1, {{UINT64_MAX - 9, 0, 10, low}}},
    {"memory region 0 is empty or wraps", ADIT_ERR_PROTOCOL, 1, {{0, UINT64_MAX - 9, 11, low}}},
    {"memory region 1 is empty or wraps",
     ADIT_ERR_PROTOCOL,
     2,
     {{0, 0, 10, low}, {99, 99, UINT64_MAX, high}}},
    {"memory regions 0 and 1 overlap", ADIT_ERR_PROTOCOL, 2, {{0, 0, 10, low}, {9, 100, 10, high}}},
    {"memory regions 0 and 1 overlap",
     ADIT_ERR_PROTOCOL,
     2,
     {{50, 50, 10, low}, {0, 41, 10, high}}},
    {"memory regions 0 and 2 overlap",
     ADIT_ERR_PROTOCOL,
     3,
     {{0, 0, 10, low}, {10, 10, 10, high}, {0, 20, 1, high}}},
};

START_TEST(guestmem_refuses_a_table_and_keeps_the_old_one)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(guestmem_set(&mem, bad_tables[_i].regions, bad_tables[_i].cnt, &err),
                     bad_tables[_i].code);
    ck_assert_str_eq(err.msg, bad_tables[_i].why);
    expect(0, sizeof(high), high);
}
END_TEST

START_TEST(guestmem_marks_every_page_that_was_written)
{
    uint8_t log[HIGH_ADDR / GUESTMEM_LOG_PAGE / 8 + 1] = {0};
    uint8_t *of_high = log + HIGH_ADDR / GUESTMEM_LOG_PAGE / 8;
    struct adit_err err = ADIT_ERR_INIT;

    guestmem_mark(&mem, low, 1); /* nobody keeps a log */
    ck_assert_int_eq(guestmem_set_log(&mem, log, sizeof(log) - 1, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, "a dirty log of 131072 bytes does not reach memory region 1");
    ck_assert_ptr_null(mem.log);
    ck_assert_int_eq(guestmem_set_log(&mem, log, sizeof(log), NULL), ADIT_OK);

    guestmem_mark(&mem, low + GUESTMEM_LOG_PAGE - 1, 2);
    ck_assert_uint_eq(log[0], 1 | 2);
    guestmem_mark(&mem, low + 3 * GUESTMEM_LOG_PAGE, 1);
    ck_assert_uint_eq(log[0], 1 | 2 | 8);
    guestmem_mark(&mem, high + GUESTMEM_LOG_PAGE, GUESTMEM_LOG_PAGE);
    ck_assert_uint_eq(*of_high, 2);
    guestmem_mark(&mem, high, sizeof(high));
    ck_assert_uint_eq(*of_high, 7);
    guestmem_mark(&mem, &log, 1); /* not guest memory */

    ck_assert_int_eq(guestmem_set_log(&mem, NULL, 0, NULL), ADIT_OK);
    guestmem_mark(&mem, low + 2 * GUESTMEM_LOG_PAGE, 1);
    ck_assert_uint_eq(log[0], 1 | 2 | 8);
}
END_TEST

START_TEST(guestmem_marks_nothing_beyond_its_log)
{
    static const struct guestmem_region small = {0, 0, GUESTMEM_LOG_PAGE, low};
    static const struct guestmem_region far = {0x8000 * 8, 0, sizeof(high), high};
    uint8_t log[2] = {0};
    ck_assert_int_eq(guestmem_set(&mem, &small, 1, NULL), ADIT_OK);
    ck_assert_int_eq(guestmem_set_log(&mem, log, 1, NULL), ADIT_OK);
    ck_assert_int_eq(guestmem_set(&mem, &far, 1, NULL), ADIT_OK);
    guestmem_mark(&mem, high, sizeof(high));
    ck_assert_uint_eq(log[0] | log[1], 0);
}
END_TEST

START_TEST(guestmem_copies)
{
    uint8_t out[4] = {0};
    memcpy(low, "abcd", 4);
    guestmem_copy_in(out, low, sizeof(out));
    ck_assert_mem_eq(out, "abcd", 4);
}
END_TEST

SUITE_MAIN_WITH("guestmem", .fixtures = {{setup, teardown}},
                TESTS(guestmem_finds_what_is_whole_within_a_region,
                      guestmem_finds_nothing_beyond_an_edge, guestmem_does_not_wrap,
                      guestmem_regions_that_touch_are_not_one,
                      guestmem_marks_every_page_that_was_written,
                      guestmem_marks_nothing_beyond_its_log, guestmem_copies),
                LOOPS({guestmem_refuses_a_table_and_keeps_the_old_one,
                       sizeof(bad_tables) / sizeof(bad_tables[0])}))
