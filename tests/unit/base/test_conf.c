/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: sources, their order, syntax, refusals, printing. */
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"

struct target {
    char *name;
    char *path;
    bool on;
    bool off;
    uint64_t port, size, wait;
};

static const struct adit_conf_row rows[] = {
    {"name", ADIT_CONF_STRING, offsetof(struct target, name), "adit", 1, 8, "how it is called"},
    {"path", ADIT_CONF_STRING, offsetof(struct target, path), NULL, 0, 0, "'where' it \\is"},
    {"on", ADIT_CONF_BOOL, offsetof(struct target, on), "true", 0, 0, "a switch"},
    {"off", ADIT_CONF_BOOL, offsetof(struct target, off), NULL, 0, 0, "another switch"},
    {"listen-port", ADIT_CONF_UINT, offsetof(struct target, port), "3000", 1, 65535, "the port"},
    {"size", ADIT_CONF_SIZE, offsetof(struct target, size), "64KiB", 1, UINT64_C(1) << 40, "bytes"},
    {"wait", ADIT_CONF_DURATION, offsetof(struct target, wait), "10s", 0, 86400000, "time"},
    {0},
};

static struct adit_conf_spec spec = {.program = "prog",
                                     .usage = "Usage: prog [OPTION]...",
                                     .env_prefix = "ADIT_PROG",
                                     .file = NULL,
                                     .rows = rows};
static struct adit_err err;
static struct target t;
static int rest, info;
static char file_name[] = "/tmp/adit-test-conf-XXXXXX";

#define LOAD(...) load((const char *const[]){"prog", __VA_ARGS__ __VA_OPT__(, ) NULL})

static int load(const char *const *args)
{
    static char words[10][200];
    static char *argv[11];
    int argc = 0;
    for (; args[argc]; argc++) {
        ck_assert_uint_lt(strlen(args[argc]), sizeof words[0]);
        argv[argc] = strcpy(words[argc], args[argc]);
    }
    argv[argc] = NULL;
    err.msg[0] = '\0';
    return adit_conf_load(&spec, argc, argv, &t, &rest, &info, &err);
}

static void write_file(const char *text)
{
    int fd = mkstemp(file_name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(close(fd), 0);
}

static int parse(const char *text)
{
    ck_assert_int_eq(adit_conf_defaults(&spec, &t, &err), 0);
    return adit_conf_parse_text(&spec, adit_view_str(text), &t, &err);
}

START_TEST(conf_starts_from_the_defaults)
{
    ck_assert_int_eq(LOAD(), 0);
    ck_assert_str_eq(t.name, "adit");
    ck_assert_str_eq(t.path, "");
    ck_assert(t.on);
    ck_assert(!t.off);
    ck_assert_uint_eq(t.port, 3000);
    ck_assert_uint_eq(t.size, 65536);
    ck_assert_uint_eq(t.wait, 10000);
    ck_assert_int_eq(rest, 1);
    ck_assert_int_eq(info, 0);
    adit_conf_fini(&spec, &t);
    ck_assert_ptr_null(t.name);
}
END_TEST

START_TEST(conf_later_sources_win)
{
    write_file("listen-port = 1\nsize=2B\nwait = 3ms\n");
    spec.file = file_name;
    ck_assert_int_eq(setenv("ADIT_PROG_SIZE", "20B", 1), 0);
    ck_assert_int_eq(setenv("ADIT_PROG_WAIT", "30ms", 1), 0);
    ck_assert_int_eq(LOAD("--wait=300ms", "--name", "x"), 0);
    ck_assert_uint_eq(t.port, 1);
    ck_assert_uint_eq(t.size, 20);
    ck_assert_uint_eq(t.wait, 300);
    ck_assert_str_eq(t.name, "x");
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(unlink(file_name), 0);
}
END_TEST

START_TEST(conf_default_file_may_be_missing_but_a_given_one_not)
{
    spec.file = "/nonexistent/adit.conf";
    ck_assert_int_eq(LOAD(), 0);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(LOAD("--config", "/nonexistent/other.conf"), ADIT_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/other.conf"));

    write_file("listen-port = 77\n");
    ck_assert_int_eq(LOAD("--config", file_name), 0);
    ck_assert_uint_eq(t.port, 77);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(unlink(file_name), 0);
}
END_TEST

START_TEST(conf_flags_end_at_the_first_other_word)
{
    ck_assert_int_eq(LOAD("--no-on", "--off", "keys", "--list"), 0);
    ck_assert(!t.on);
    ck_assert(t.off);
    ck_assert_int_eq(rest, 3);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(LOAD("--off", "--", "--list"), 0);
    ck_assert_int_eq(rest, 3);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(LOAD("-", "x"), 0);
    ck_assert_int_eq(rest, 1);
    adit_conf_fini(&spec, &t);
}
END_TEST

START_TEST(conf_reports_help_and_version_before_reading_anything)
{
    ck_assert_int_eq(LOAD("--config", "/nonexistent", "--help"), 0);
    ck_assert_int_eq(info, 'h');
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(LOAD("--version"), 0);
    ck_assert_int_eq(info, 'v');
    adit_conf_fini(&spec, &t);
}
END_TEST

static void expect_refusal(int rc, const char *in_message)
{
    ck_assert_int_eq(rc, ADIT_ERR_BAD_INPUT);
    ck_assert_msg(strstr(err.msg, in_message) != NULL, "\"%s\" lacks \"%s\"", err.msg, in_message);
    ck_assert_ptr_null(t.name);
}

START_TEST(conf_refuses_bad_flags_by_name)
{
    expect_refusal(LOAD("--bogus"), "--bogus");
    expect_refusal(LOAD("-p", "1"), "-p");
    expect_refusal(LOAD("--listen-port"), "--listen-port");
    expect_refusal(LOAD("--listen-port", "0"), "listen-port");
    expect_refusal(LOAD("--listen-port=65536"), "listen-port");
    expect_refusal(LOAD("--no-listen-port"), "--no-listen-port");
    expect_refusal(LOAD("--on=true"), "--on");
    expect_refusal(LOAD("--help=x"), "--help");
    expect_refusal(LOAD("--name", "123456789"), "name");
    expect_refusal(LOAD("--name="), "name");
    expect_refusal(LOAD("--path", "a\nb"), "path");
}
END_TEST

START_TEST(conf_refuses_unknown_names_in_the_environment)
{
    ck_assert_int_eq(setenv("ADIT_PROGRAM", "1", 1), 0);
    ck_assert_int_eq(LOAD(), 0);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(setenv("ADIT_PROG_LISTEN_PROT", "1", 1), 0);
    expect_refusal(LOAD(), "ADIT_PROG_LISTEN_PROT");
    ck_assert_int_eq(unsetenv("ADIT_PROG_LISTEN_PROT"), 0);
    ck_assert_int_eq(setenv("ADIT_PROG_LISTEN_PORT", "x", 1), 0);
    expect_refusal(LOAD(), "listen-port");
    ck_assert_int_eq(setenv("ADIT_PROG_LISTEN_PORT", "9", 1), 0);
    ck_assert_int_eq(LOAD(), 0);
    ck_assert_uint_eq(t.port, 9);
    adit_conf_fini(&spec, &t);
}
END_TEST

START_TEST(conf_file_takes_comments_blanks_and_no_last_newline)
{
    ck_assert_int_eq(parse("# comment = 1\n\n \t\n  name\t=  a # b \nlisten-port=80\npath = a = b"),
                     0);
    ck_assert_str_eq(t.name, "a # b");
    ck_assert_str_eq(t.path, "a = b");
    ck_assert_uint_eq(t.port, 80);
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(parse("name = a\nname = b\npath =\n"), 0);
    ck_assert_str_eq(t.name, "b");
    adit_conf_fini(&spec, &t);
}
END_TEST

START_TEST(conf_file_refuses_with_line_and_name)
{
    static const struct {
        const char *text, *in_message;
    } bad[] = {
        {"listen-port = 80\nbogus = 1\n", "line 2: unknown name bogus"},
        {"= 1\n", "line 1"},
        {"listen-port\n", "line 1"},
        {"listen-port = \n", "listen-port"},
        {"listen-port = 080\n", "listen-port"},
        {"listen-port = 80 80\n", "listen-port"},
        {"listen-port = 80B\n", "listen-port"},
        {"Listen-Port = 80\n", "unknown"},
        {"on = yes\n", "on: is neither"},
        {"on = True\n", "on: is neither"},
        {"size = 1\n", "size: is not a number with B"},
        {"size = 1K\n", "size"},
        {"size = 1 KiB\n", "size"},
        {"size = 1kib\n", "size"},
        {"size = 0\n", "size: is below"},
        {"size = 17179869184GiB\n", "size"},
        {"size = 1025GiB\n", "size: is above"},
        {"wait = 10\n", "wait: is not a number with ms"},
        {"wait = -1s\n", "wait"},
        {"wait = 1.5s\n", "wait"},
        {"wait = 2d\n", "wait: is above"},
        {"name = a\x01\n", "name: holds a control"},
        {"name = a\r\n", "name: holds a control"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(parse(bad[i].text) == ADIT_ERR_BAD_INPUT, "%s", bad[i].text);
        ck_assert_msg(strstr(err.msg, bad[i].in_message) != NULL, "\"%s\" lacks \"%s\"", err.msg,
                      bad[i].in_message);
        adit_conf_fini(&spec, &t);
    }
}
END_TEST

START_TEST(conf_reads_every_unit)
{
    static const struct {
        const char *text;
        uint64_t size, wait;
    } units[] = {
        {"size=3B\nwait=3ms", 3, 3},
        {"size=3KiB\nwait=3s", 3072, 3000},
        {"size=3MiB\nwait=3m", 3145728, 180000},
        {"size=3GiB\nwait=3h", UINT64_C(3221225472), 10800000},
        {"size=1B\nwait=1d", 1, 86400000},
        {"size=1B\nwait=0", 1, 0},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        ck_assert_int_eq(parse(units[i].text), 0);
        ck_assert_uint_eq(t.size, units[i].size);
        ck_assert_uint_eq(t.wait, units[i].wait);
        adit_conf_fini(&spec, &t);
    }
}
END_TEST

static char *printed(void (*print)(FILE *))
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    print(out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static void print_values(FILE *out)
{
    adit_conf_print_values(&spec, &t, out);
}

static void print_help(FILE *out)
{
    adit_conf_print_help(&spec, out);
}

static void print_mdoc(FILE *out)
{
    adit_conf_print_mdoc(&spec, out);
}

START_TEST(conf_prints_values_as_a_file_that_reads_the_same)
{
    ck_assert_int_eq(parse("size = 1536KiB\nwait = 90s\nname = n\n"), 0);
    char *first = printed(print_values);
    ck_assert_str_eq(first, "name = n\npath = \non = true\noff = false\nlisten-port = 3000\n"
                            "size = 1536KiB\nwait = 90s\n");
    adit_conf_fini(&spec, &t);
    ck_assert_int_eq(parse(first), 0);
    char *second = printed(print_values);
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
    adit_conf_fini(&spec, &t);
}
END_TEST

START_TEST(conf_help_and_manual_name_every_row)
{
    char *help = printed(print_help), *mdoc = printed(print_mdoc);
    ck_assert_int_eq(strncmp(help, "Usage: prog", 11), 0);
    for (const struct adit_conf_row *row = rows; row->name; row++) {
        ck_assert_ptr_nonnull(strstr(help, row->name));
        ck_assert_ptr_nonnull(strstr(help, row->help));
        ck_assert_ptr_nonnull(strstr(mdoc, row->name));
    }
    ck_assert_ptr_nonnull(strstr(help, "--[no-]on"));
    ck_assert_ptr_nonnull(strstr(help, "(default 64KiB)"));
    ck_assert_ptr_nonnull(strstr(help, "ADIT_PROG_NAME"));
    ck_assert_ptr_nonnull(strstr(mdoc, "\n\\&'where' it \\eis.\n"));
    free(help);
    free(mdoc);
}
END_TEST

START_TEST(conf_logs_every_value)
{
    static const char *const values[] = {"name=n",           "path=/a",      "off=false",
                                         "listen-port=3000", "size=1536KiB", "wait=90s"};
    char text[4096];
    int pipe_fds[2], real = dup(STDERR_FILENO);
    ck_assert_int_eq(parse("size = 1536KiB\nwait = 90s\nname = n\npath = /a\n"), 0);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_eq(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
    adit_conf_log(&spec, &t);
    ck_assert_int_eq(dup2(real, STDERR_FILENO), STDERR_FILENO);
    ssize_t n = read(pipe_fds[0], text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        ck_assert_msg(strstr(text, values[i]), "%s: %s", values[i], text);
    adit_conf_fini(&spec, &t);
}
END_TEST

SUITE_MAIN("conf", conf_starts_from_the_defaults, conf_later_sources_win,
           conf_default_file_may_be_missing_but_a_given_one_not,
           conf_flags_end_at_the_first_other_word,
           conf_reports_help_and_version_before_reading_anything, conf_refuses_bad_flags_by_name,
           conf_refuses_unknown_names_in_the_environment,
           conf_file_takes_comments_blanks_and_no_last_newline,
           conf_file_refuses_with_line_and_name, conf_reads_every_unit,
           conf_prints_values_as_a_file_that_reads_the_same, conf_logs_every_value,
           conf_help_and_manual_name_every_row)
