/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/apt_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#include "tests/unit/suite.h"

START_TEST(apt_host_finds_the_suite_as_a_word)
{
    static const char *const yes[] = {
        "deb http://mirror.example/debian bookworm main\n",
        "Types: deb\nSuites: bookworm bookworm-updates\n",
        "deb [signed-by=/x] http://mirror.example bookworm main",
        "Suites:\tbookworm",
    };
    static const char *const no[] = {
        "",
        "# deb http://mirror.example/debian bookworm main\n",
        "  # bookworm",
        "deb http://mirror.example/debian bookworm-updates main\n",
        "deb http://mirror.example/bookworm stable main\n",
        "Suites: nodistro\n",
        "Suites: bookworm2\n",
    };
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        ck_assert_msg(apt_host_names_suite(adit_view_str(yes[i]), "bookworm"), "%s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        ck_assert_msg(!apt_host_names_suite(adit_view_str(no[i]), "bookworm"), "%s", no[i]);
}
END_TEST

START_TEST(apt_host_keeps_download_settings_only)
{
    struct adit_buf out;
    adit_buf_init(&out, 4096);
    ck_assert_int_eq(apt_host_filter(adit_view_str("APT \"\";\nAPT::Architecture \"amd64\";\n"
                                                   "DPkg::Pre-Install-Pkgs \"\";\n"
                                                   "Acquire \"\";\nAcquire::http \"\";\n"
                                                   "Acquire::http::Proxy \"x\";\n"
                                                   "Acquire::Check-Date \"false\";\n"
                                                   "Acquire::Languages:: \"de\";\n"
                                                   "Acquire::IndexTargets::deb \"y\";\n"),
                                     &out, NULL),
                     0);
    ck_assert(adit_view_eq_str(adit_buf_view(&out), "Acquire::http::Proxy \"x\";\n"
                                                    "Acquire::Check-Date \"false\";\n"));
    adit_buf_fini(&out);
}
END_TEST

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(adit_file_replace(-100, path, adit_view_str(text), 0600, NULL), 0);
}

START_TEST(apt_host_reads_both_formats_in_order)
{
    char dir[] = "/tmp/adit-apt-XXXXXX", sub[64], command[96];
    struct apt_host apt;
    ck_assert(mkdtemp(dir) != NULL);
    (void)snprintf(sub, sizeof(sub), "%s/sources.list.d", dir);
    ck_assert(mkdir(sub, 0700) == 0);
    ck_assert_int_eq(apt_host_read(&apt, dir, "bookworm", NULL), ADIT_ERR_NOT_FOUND);
    write_file(dir, "sources.list", "deb http://m.example bookworm main\n");
    write_file(sub, "b.sources", "Suites: bookworm\n");
    write_file(sub, "a.list", "deb http://m.example bookworm contrib\n");
    write_file(sub, "c.list", "deb http://m.example trixie main\n");
    write_file(sub, "d.sources.save", "Suites: bookworm\n");
    if (system("command -v apt-config >/dev/null 2>&1") == 0) {
        ck_assert_int_eq(apt_host_read(&apt, dir, "bookworm", NULL), 0);
        ck_assert_uint_eq(apt.source_cnt, 3);
        ck_assert_ptr_nonnull(strstr(apt.sources[0], "/sources.list"));
        ck_assert_ptr_nonnull(strstr(apt.sources[1], "/a.list"));
        ck_assert_ptr_nonnull(strstr(apt.sources[2], "/b.sources"));
        apt_host_free(&apt);
    }
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert(system(command) == 0);
}
END_TEST

SUITE_MAIN("apt_host", apt_host_finds_the_suite_as_a_word, apt_host_keeps_download_settings_only,
           apt_host_reads_both_formats_in_order)
