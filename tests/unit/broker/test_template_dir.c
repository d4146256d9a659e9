/* SPDX-License-Identifier: Apache-2.0 */
/* The templates directory: what is found, and that a scan without memory forgets nothing. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "broker/node/template_dir.h"

#define ID "abcdefghij0123456789"
#define TEXT                                                                                       \
    "{\"template_id\":\"" ID "\",\"build_id\":\"8f14e45f-ceea-467f-ab2b-0123456789ab\","           \
    "\"cpu_count\":2,\"memory_mb\":512,\"disk_mb\":1024,\"aliases\":[\"base\"],"                   \
    "\"created_at\":\"2026-11-21T07:00:00.000Z\"}"

static char root[64];
static uv_loop_t uv;
static struct template_dir *dir;

static void make_folder(const char *name, const char *text)
{
    char path[128];
    struct adit_err err = ADIT_ERR_INIT;
    (void)snprintf(path, sizeof(path), "%s/%s/root", root, name);
    ck_assert_msg(adit_file_mkdirs(path, 0700, &err) == 0, "%s", err.msg);
    (void)snprintf(path, sizeof(path), "%s/%s/" TEMPLATE_FILE, root, name);
    ck_assert_int_eq(adit_file_replace(AT_FDCWD, path, adit_view_str(text), 0600, &err), 0);
}

static int remove_root(void)
{
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = adit_file_remove_tree(tmp, root + strlen("/tmp/"), NULL);
    (void)close(tmp); /* a directory */
    return rc;
}

static void open_dir(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)snprintf(root, sizeof(root), "/tmp/test_template_dir.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    make_folder("good", TEXT);
    make_folder("bad", "{}");
    ck_assert_int_eq(uv_loop_init(&uv), 0);
    ck_assert_int_eq(template_dir_new(&uv, root, &dir, &err), 0);
}

static void close_dir(void)
{
    template_dir_free(dir);
    ck_assert_int_eq(uv_loop_close(&uv), 0);
    (void)remove_root(); /* may be gone */
}

static void on_scanned(void *user, bool changed)
{
    bool *out = user;
    *out = changed;
}

static long unused; /* of the last scan's @n: it made fewer allocations */

/* The @n-th allocation of the scan fails; 0: none. Return: did something change? */
static bool scan(long n)
{
    bool changed = false;
    failing_malloc.countdown = n;
    bool has_begun = template_dir_scan(dir, on_scanned, &changed);
    (void)uv_run(&uv, UV_RUN_DEFAULT);
    unused = failing_malloc.countdown;
    failing_malloc.countdown = 0;
    ck_assert(has_begun);
    return changed;
}

START_TEST(template_dir_finds_by_id_and_alias)
{
    open_dir();
    ck_assert_ptr_null(template_dir_find(dir, ID));
    ck_assert(scan(0));
    ck_assert(!scan(0));
    ck_assert_uint_eq(template_dir_cnt(dir), 1);
    ck_assert_ptr_nonnull(template_dir_find(dir, ID));
    ck_assert_str_eq(template_dir_resolve(dir, adit_view_str("base"))->artifact, "good");
    close_dir();
}
END_TEST

START_TEST(template_dir_forgets_nothing_without_memory)
{
    open_dir();
    ck_assert(scan(0));
    if (!FAILING_MALLOC)
        suite_skip("template_dir_forgets_nothing_without_memory", FAILING_MALLOC_NEEDS);
    long n = 0;
    while (FAILING_MALLOC && unused == 0) {
        ck_assert(!scan(++n));
        ck_assert_ptr_nonnull(template_dir_find(dir, ID));
    }
    ck_assert(!FAILING_MALLOC || n > 20);
    close_dir();
}
END_TEST

START_TEST(template_dir_forgets_nothing_without_descriptors)
{
    struct rlimit all, none = {0, 0};
    open_dir();
    ck_assert(scan(0));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
    none.rlim_max = all.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert(!scan(0));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
    ck_assert_uint_eq(template_dir_cnt(dir), 1);
    close_dir();
}
END_TEST

START_TEST(template_dir_is_empty_when_it_is_not_there)
{
    open_dir();
    ck_assert(scan(0));
    ck_assert_int_eq(remove_root(), 0);
    ck_assert(scan(0));
    ck_assert_uint_eq(template_dir_cnt(dir), 0);
    close_dir();
}
END_TEST

SUITE_MAIN("template_dir", template_dir_finds_by_id_and_alias,
           template_dir_forgets_nothing_without_memory,
           template_dir_forgets_nothing_without_descriptors,
           template_dir_is_empty_when_it_is_not_there)
