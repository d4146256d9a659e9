/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements: what a guest may claim, and their file. */
#include "broker/node/sample_file.h"

#include "tests/unit/suite.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define TEXT(cpu, pct, total, used)                                                                \
    "{\"ts\":1,\"cpu_count\":" cpu ",\"cpu_used_pct\":" pct ",\"mem_total\":" total                \
    ",\"mem_used\":" used ",\"mem_cache\":3,\"disk_used\":4,\"disk_total\":5}"

static int parse(const char *text)
{
    struct sample s;
    return sample_parse(adit_view_str(text), &s, NULL);
}

START_TEST(sample_takes_what_envd_says)
{
    struct sample s;
    ck_assert_int_eq(sample_parse(adit_view_str(TEXT("2", "12.34", "100", "40")), &s, NULL), 0);
    ck_assert_uint_eq(s.cpu_cnt, 2);
    ck_assert_uint_eq(s.cpu_centi_pct, 1234);
    ck_assert_uint_eq(s.mem_total, 100);
    ck_assert_uint_eq(s.mem_used, 40);
    ck_assert_uint_eq(s.mem_cache, 3);
    ck_assert_uint_eq(s.disk_used, 4);
    ck_assert_uint_eq(s.disk_total, 5);
    ck_assert_int_eq(parse(TEXT("1", "0", "0", "0")), 0);
    ck_assert_int_eq(parse(TEXT("1", "100", "0", "0")), 0);
}
END_TEST

START_TEST(sample_refuses_claims_that_cannot_be)
{
    static const char *const texts[] = {
        TEXT("-1", "0", "1", "1"),
        TEXT("5000", "0", "1", "1"),
        TEXT("1", "100.1", "1", "1"),
        TEXT("1", "-0.1", "1", "1"),
        TEXT("1", "1e999", "1", "1"),
        TEXT("1", "NaN", "1", "1"),
        TEXT("1", "\"1\"", "1", "1"),
        TEXT("1", "null", "1", "1"),
        TEXT("1", "0", "-1", "0"),
        TEXT("1", "0", "1", "2"),
        TEXT("1", "0", "1.5", "1"),
        TEXT("1", "0", "9223372036854775807", "1"),
        TEXT("1", "0", "1e400", "1"),
        "",
        "{}",
        "[1]",
        "{\"cpu_count\":1}",
        "{\"cpu_count\":[1]}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(parse(texts[i]) == ADIT_ERR_BAD_INPUT, "taken: %s", texts[i]);
}
END_TEST

START_TEST(sample_record_with_any_byte_changed_is_none)
{
    struct sample s = {.at_ms = 12345678, .cpu_cnt = 3, .mem_total = 99}, back;
    uint8_t record[SAMPLE_LEN];
    sample_encode(&s, record);
    ck_assert(sample_decode(record, &back));
    ck_assert_mem_eq(&s, &back, sizeof(s));
    for (size_t i = 0; i < SAMPLE_LEN; i++) {
        record[i] ^= 0x10;
        ck_assert(!sample_decode(record, &back));
        record[i] ^= 0x10;
    }
}
END_TEST

/* ---- the file ---- */

struct disk {
    uv_loop_t uv;
    char dir[64];
    int fd;
    unsigned told, failed;
    size_t cnt;
    struct sample samples[SAMPLE_FILE_POINTS_MAX];
};

static void open_disk(struct disk *d)
{
    memset(d, 0, sizeof(*d));
    strcpy(d->dir, "/tmp/adit-sample-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(d->dir));
    d->fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(d->fd, 0);
    ck_assert_int_eq(mkdirat(d->fd, "ia", 0700), 0);
    ck_assert_int_eq(uv_loop_init(&d->uv), 0);
}

static void close_disk(struct disk *d)
{
    ck_assert_int_eq(uv_loop_close(&d->uv), 0);
    close(d->fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, d->dir + strlen("/tmp/"), NULL), 0);
    close(tmp);
}

static void on_appended(void *user, const struct adit_err *err)
{
    struct disk *d = user;
    d->told++;
    d->failed += err != NULL;
}

static void on_read(void *user, const struct sample *samples, size_t cnt,
                    const struct adit_err *err)
{
    struct disk *d = user;
    ck_assert_ptr_null(err);
    ck_assert_uint_le(cnt, SAMPLE_FILE_POINTS_MAX);
    d->cnt = cnt;
    memcpy(d->samples, samples, cnt * sizeof(*samples));
}

static void append(struct disk *d, int64_t at_ms)
{
    struct sample s = {.at_ms = at_ms, .cpu_cnt = 1};
    ck_assert_int_eq(sample_file_append(&d->uv, d->fd, "ia", &s, on_appended, d), 0);
    ck_assert_int_eq(uv_run(&d->uv, UV_RUN_DEFAULT), 0);
}

static void read_range(struct disk *d, int64_t start_ms, int64_t end_ms)
{
    ck_assert_int_eq(sample_file_read(&d->uv, d->fd, "ia", start_ms, end_ms, on_read, d), 0);
    ck_assert_int_eq(uv_run(&d->uv, UV_RUN_DEFAULT), 0);
}

/* Many records at once, @step_ms apart, from time 1 on. */
static void fill(const struct disk *d, size_t cnt, int64_t step_ms)
{
    uint8_t record[SAMPLE_LEN];
    int fd = openat(d->fd, "ia/" SAMPLE_FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (size_t i = 0; i < cnt; i++) {
        struct sample s = {.at_ms = 1 + (int64_t)i * step_ms};
        sample_encode(&s, record);
        ck_assert_int_eq(write(fd, record, SAMPLE_LEN), SAMPLE_LEN);
    }
    close(fd);
}

START_TEST(sample_file_gives_what_lies_in_the_range)
{
    struct disk d;
    open_disk(&d);
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 0); /* none was taken yet */
    for (int64_t at = 1000; at <= 5000; at += 1000)
        append(&d, at);
    ck_assert_uint_eq(d.told, 5);
    ck_assert_uint_eq(d.failed, 0);
    read_range(&d, 2000, 4000);
    ck_assert_uint_eq(d.cnt, 3);
    ck_assert_int_eq(d.samples[0].at_ms, 2000);
    ck_assert_int_eq(d.samples[2].at_ms, 4000);
    read_range(&d, 5001, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 0);
    close_disk(&d);
}
END_TEST

START_TEST(sample_file_passes_over_what_a_crash_tore)
{
    struct disk d;
    open_disk(&d);
    append(&d, 1000);
    append(&d, 2000);
    int fd = openat(d.fd, "ia/" SAMPLE_FILE_NAME, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, SAMPLE_LEN + 20), 0);
    close(fd);
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 1);
    append(&d, 3000); /* over the torn one */
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 2);
    ck_assert_int_eq(d.samples[1].at_ms, 3000);
    close_disk(&d);
}
END_TEST

START_TEST(sample_file_thins_long_ranges_out_evenly)
{
    struct disk d;
    const size_t cnt = 17280; /* a day */
    open_disk(&d);
    fill(&d, cnt, 5000);
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_ge(d.cnt, SAMPLE_FILE_POINTS_MAX / 2);
    ck_assert_int_eq(d.samples[0].at_ms, 1);
    ck_assert_int_eq(d.samples[d.cnt - 1].at_ms, 1 + (int64_t)(cnt - 1) * 5000);
    int64_t step = d.samples[1].at_ms - d.samples[0].at_ms;
    for (size_t i = 1; i + 1 < d.cnt; i++)
        ck_assert_int_eq(d.samples[i].at_ms - d.samples[i - 1].at_ms, step);
    read_range(&d, 1, 1 + 99 * 5000);
    ck_assert_uint_eq(d.cnt, 100);
    close_disk(&d);
}
END_TEST

/* Calls of the kernel that read, of all threads. */
static unsigned long reads_until_now(void)
{
    char text[512] = "";
    unsigned long cnt;
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    const char *at = strstr(text, "syscr: ");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_eq(sscanf(at, "syscr: %lu", &cnt), 1);
    return cnt;
}

START_TEST(sample_file_reads_no_more_than_it_answers)
{
    struct disk d;
    const size_t cnt = 100000;
    open_disk(&d);
    fill(&d, cnt, 5000);
    unsigned long before = reads_until_now();
    read_range(&d, 1 + 70000 * 5000LL, 1 + 70009 * 5000LL);
    unsigned long few = reads_until_now() - before;
    ck_assert_uint_eq(d.cnt, 10);
    ck_assert_int_eq(d.samples[0].at_ms, 1 + 70000 * 5000LL);
    ck_assert_uint_lt(few, 100);
    before = reads_until_now();
    read_range(&d, 0, INT64_MAX);
    unsigned long most = reads_until_now() - before;
    ck_assert_uint_gt(d.cnt, SAMPLE_FILE_POINTS_MAX - 20);
    ck_assert_uint_lt(most, SAMPLE_FILE_POINTS_MAX + 100);
    close_disk(&d);
}
END_TEST

/* Records in the middle that are none, as a disk may leave them. */
START_TEST(sample_file_finds_what_lies_around_a_hole)
{
    static const uint8_t zeros[SAMPLE_LEN];
    static const int lengths[] = {1, 63, 64, 65, 129, 220};
    const int len = lengths[_i];
    struct disk d;
    open_disk(&d);
    fill(&d, 400, 5000);
    int fd = openat(d.fd, "ia/" SAMPLE_FILE_NAME, O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < len; i++)
        ck_assert_int_eq(pwrite(fd, zeros, SAMPLE_LEN, (150 + i) * SAMPLE_LEN), SAMPLE_LEN);
    close(fd);
    read_range(&d, 1, 1 + 399 * 5000);
    ck_assert_uint_eq(d.cnt, 400 - (size_t)len);
    read_range(&d, 1 + 140 * 5000, 1 + 389 * 5000);
    ck_assert_uint_eq(d.cnt, 250 - (size_t)len);
    ck_assert_int_eq(d.samples[0].at_ms, 1 + 140 * 5000);
    read_range(&d, 1, 1 + 139 * 5000);
    ck_assert_uint_eq(d.cnt, 140);
    read_range(&d, 1 + 390 * 5000, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 10);
    close_disk(&d);
}
END_TEST

START_TEST(sample_file_tells_nothing_from_outside_when_the_clock_was_set_back)
{
    struct disk d;
    open_disk(&d);
    for (int64_t at = 1000; at <= 9000; at += 1000)
        append(&d, at);
    for (int64_t at = 4000; at <= 12000; at += 1000)
        append(&d, at);
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 18);
    read_range(&d, 10000, 11000);
    for (size_t i = 0; i < d.cnt; i++)
        ck_assert(d.samples[i].at_ms >= 10000 && d.samples[i].at_ms <= 11000);
    ck_assert_uint_eq(d.cnt, 2);
    close_disk(&d);
}
END_TEST

START_TEST(sample_file_gives_every_count_up_to_the_maximum)
{
    struct disk d;
    size_t cnt = SAMPLE_FILE_POINTS_MAX - 2 + (size_t)_i;
    open_disk(&d);
    fill(&d, cnt, 5000);
    read_range(&d, 0, INT64_MAX);
    if (cnt <= SAMPLE_FILE_POINTS_MAX)
        ck_assert_uint_eq(d.cnt, cnt);
    ck_assert_uint_ge(d.cnt, SAMPLE_FILE_POINTS_MAX / 2);
    ck_assert_int_eq(d.samples[d.cnt - 1].at_ms, 1 + (int64_t)(cnt - 1) * 5000);
    close_disk(&d);
}
END_TEST

START_TEST(sample_file_of_a_removed_sandbox_comes_to_nothing)
{
    struct disk d;
    open_disk(&d);
    ck_assert_int_eq(unlinkat(d.fd, "ia", AT_REMOVEDIR), 0);
    append(&d, 1000);
    ck_assert_uint_eq(d.failed, 1);
    read_range(&d, 0, INT64_MAX);
    ck_assert_uint_eq(d.cnt, 0);
    ck_assert_int_ne(faccessat(d.fd, "ia", F_OK, 0), 0);
    close_disk(&d);
}
END_TEST

SUITE_MAIN_WITH("sample",
                TESTS(sample_takes_what_envd_says, sample_refuses_claims_that_cannot_be,
                      sample_record_with_any_byte_changed_is_none,
                      sample_file_gives_what_lies_in_the_range,
                      sample_file_passes_over_what_a_crash_tore,
                      sample_file_thins_long_ranges_out_evenly,
                      sample_file_reads_no_more_than_it_answers,
                      sample_file_tells_nothing_from_outside_when_the_clock_was_set_back,
                      sample_file_of_a_removed_sandbox_comes_to_nothing),
                LOOPS({sample_file_gives_every_count_up_to_the_maximum, 5},
                      {sample_file_finds_what_lies_around_a_hole, 6}))
