/* SPDX-License-Identifier: Apache-2.0 */
/* One more authority in the stores of a root that the test lays out. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include "envd/ca_store.h"

#define PEM(text) "-----BEGIN CERTIFICATE-----\n" text "\n-----END CERTIFICATE-----\n"
#define OLD PEM("b2xk")
#define NEW PEM("bmV3")
#define DEBIAN "/etc/ssl/certs/ca-certificates.crt"
#define FEDORA "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"

static struct adit_err err;

static void lay(const char *dir)
{
    ck_assert_int_eq(adit_file_mkdirs(scratch(dir), 0755, &err), 0);
}

static const char *add(const char *pem)
{
    const char *bundle = NULL;
    ck_assert_msg(ca_store_add(scratch_dir, adit_view_str(pem), &bundle, &err) == 0, "%s", err.msg);
    return bundle;
}

static void expect(const char *path, const char *content)
{
    ck_assert_msg(scratch_is(path + 1, content, strlen(content)), "%s", path);
}

START_TEST(ca_store_adds_to_the_file_of_all)
{
    lay("etc/ssl/certs");
    scratch_write(&DEBIAN[1], OLD, strlen(OLD));
    ck_assert_str_eq(add(NEW), DEBIAN);
    ck_assert_str_eq(add(NEW), DEBIAN); /* once */
    expect(DEBIAN, OLD NEW);
    expect(CA_STORE_FILE, NEW);
    ck_assert_str_eq(add(PEM("bmV3ZXI=")), DEBIAN);
    expect(DEBIAN, OLD NEW PEM("bmV3ZXI="));
}
END_TEST

START_TEST(ca_store_ends_the_last_line_first)
{
    lay("etc/ssl/certs");
    scratch_write(&DEBIAN[1], OLD, strlen(OLD) - 1);
    (void)add(NEW);
    expect(DEBIAN, OLD NEW);
}
END_TEST

START_TEST(ca_store_is_found_by_its_hash)
{
    char target[64] = "";
    lay("etc/ssl/certs");
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(add(NEW), "");
        ck_assert_int_gt(readlink(scratch("etc/ssl/certs/" CA_STORE_HASH ".0"), target, 63), 0);
        ck_assert_str_eq(target, CA_STORE_FILE);
    }
}
END_TEST

START_TEST(ca_store_knows_where_others_keep_it)
{
    lay("etc/pki/ca-trust/extracted/pem");
    lay("etc/pki/ca-trust/source/anchors");
    scratch_write(&FEDORA[1], OLD, strlen(OLD));
    ck_assert_str_eq(add(NEW), FEDORA);
    expect(FEDORA, OLD NEW);
    expect("/etc/pki/ca-trust/source/anchors/adit-sandbox.crt", NEW);
}
END_TEST

/* A pipe would keep us, and what a link leads to is what programs read. */
START_TEST(ca_store_leaves_alone_what_is_no_file)
{
    lay("etc/ssl/certs");
    lay("shared");
    ck_assert_int_eq(mkfifo(scratch(&DEBIAN[1]), 0644), 0);
    ck_assert_str_eq(add(NEW), "");
    ck_assert_int_eq(unlink(scratch(&DEBIAN[1])), 0);
    scratch_write("shared/all.pem", OLD, strlen(OLD));
    ck_assert_int_eq(symlink("../../../shared/all.pem", scratch(&DEBIAN[1])), 0);
    ck_assert_str_eq(add(NEW), DEBIAN);
    expect("/shared/all.pem", OLD NEW);
}
END_TEST

START_TEST(ca_store_refuses_what_is_no_certificate)
{
    static char big[CA_STORE_PEM_MAX + 100];
    const char *bundle;
    memset(big, 'A', sizeof big - 1);
    memcpy(big, "-----BEGIN CERTIFICATE-----", 27);
    memcpy(big + sizeof big - 30, "-----END CERTIFICATE-----", 25);
    const char *const wrong[] = {"", "PEM", "-----BEGIN CERTIFICATE-----", big};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(ca_store_add(scratch_dir, adit_view_str(wrong[i]), &bundle, &err),
                         ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(ca_store_says_when_nothing_can_be_written)
{
    const char *bundle;
    scratch_write("usr", "", 0);
    ck_assert_int_ne(ca_store_add(scratch_dir, adit_view_str(NEW), &bundle, &err), 0);
}
END_TEST

SUITE_MAIN_WITH("ca_store", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(ca_store_adds_to_the_file_of_all, ca_store_ends_the_last_line_first,
                      ca_store_is_found_by_its_hash, ca_store_knows_where_others_keep_it,
                      ca_store_leaves_alone_what_is_no_file,
                      ca_store_refuses_what_is_no_certificate,
                      ca_store_says_when_nothing_can_be_written))
