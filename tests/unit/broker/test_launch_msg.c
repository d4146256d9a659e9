/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/launcher/launch_msg.h"

#include <stdio.h>

#include "tests/unit/suite.h"

static struct launch_request good(uint32_t kind)
{
    struct launch_request r = {.magic = LAUNCH_MAGIC, .kind = kind, .id = 7};
    if (kind == LAUNCH_PING)
        return r;
    (void)snprintf(r.sandbox_id, sizeof(r.sandbox_id), "i0abc");
    if (kind == LAUNCH_MEASURE)
        return r;
    if (kind == LAUNCH_PROBE) {
        r.driver = LAUNCH_DRIVER_QEMU;
        r.accel = LAUNCH_ACCEL_KVM;
        r.slot = LAUNCH_SLOTS - 1;
        return r;
    }
    if (kind == LAUNCH_EXPLAIN || kind == LAUNCH_ADOPT) {
        r.pid = 42;
        return r;
    }
    (void)snprintf(r.sandbox_dir, sizeof(r.sandbox_dir), "/var/lib/adit/sandboxes/i0abc");
    if (kind == LAUNCH_DESTROY)
        return r;
    (void)snprintf(r.template_dir, sizeof(r.template_dir), "/var/lib/adit/templates/t");
    r.slot = 3;
    r.cpu_count = 2;
    r.memory_mb = 512;
    r.pids_max = 1024;
    return r;
}

static int parse(const struct launch_request *r)
{
    struct launch_request out;
    return launch_msg_parse_request(adit_view_mem(r, sizeof(*r)), &out, NULL);
}

START_TEST(launch_msg_takes_each_kind)
{
    for (uint32_t kind = LAUNCH_PING; kind <= LAUNCH_PROBE; kind++) {
        struct launch_request r = good(kind), out;
        ck_assert_int_eq(launch_msg_parse_request(adit_view_mem(&r, sizeof(r)), &out, NULL), 0);
        ck_assert_mem_eq(&r, &out, sizeof(r));
    }
}
END_TEST

START_TEST(launch_msg_refuses_other_sizes_and_magics)
{
    struct launch_request r = good(LAUNCH_CREATE), out;
    char longer[sizeof(r) + 1] = {0};
    memcpy(longer, &r, sizeof(r));
    for (size_t len = 0; len < sizeof(r); len += 13) {
        ck_assert_int_eq(launch_msg_parse_request(adit_view_mem(&r, len), &out, NULL),
                         ADIT_ERR_BAD_INPUT);
        ck_assert_uint_eq(out.id, 0);
    }
    ck_assert_int_eq(launch_msg_parse_request(adit_view_mem(longer, sizeof(longer)), &out, NULL),
                     ADIT_ERR_BAD_INPUT);
    r.magic++;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_CREATE);
    r.id = 0;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(0);
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_PROBE + 1);
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(launch_msg_keeps_the_id_of_what_it_refuses)
{
    struct launch_request r = good(LAUNCH_CREATE), out;
    r.memory_mb = 0;
    ck_assert_int_eq(launch_msg_parse_request(adit_view_mem(&r, sizeof(r)), &out, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(out.id, 7);
}
END_TEST

START_TEST(launch_msg_refuses_text_without_end)
{
    struct launch_request r = good(LAUNCH_CREATE);
    memset(r.sandbox_id, 'a', sizeof(r.sandbox_id));
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_CREATE);
    memset(r.sandbox_dir, 'a', sizeof(r.sandbox_dir));
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_PING);
    memset(r.template_dir, 'a', sizeof(r.template_dir));
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(launch_msg_refuses_ids_that_are_no_names)
{
    static const char *const bad[] = {"", "A", "a/b", "..", "a b", "a\n", "a-b", "é"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct launch_request r = good(LAUNCH_DESTROY);
        memset(r.sandbox_id, 0, sizeof(r.sandbox_id));
        (void)snprintf(r.sandbox_id, sizeof(r.sandbox_id), "%s", bad[i]);
        ck_assert_msg(parse(&r) == ADIT_ERR_BAD_INPUT, "'%s'", bad[i]);
    }
}
END_TEST

START_TEST(launch_msg_refuses_paths_that_are_not_in_shortest_form)
{
    static const char *const bad[] = {"",     "/",    "a",       "./a", "/a/",   "//a",    "/a//b",
                                      "/a/.", "/./a", "/a/../b", "/..", "/a\nb", "/a\x7f", "/.."};
    static const char *const fine[] = {"/a", "/a/b", "/...", "/a/.b", "/a b", "/ä"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!launch_msg_is_clean_path(adit_view_str(bad[i])), "'%s'", bad[i]);
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        ck_assert_msg(launch_msg_is_clean_path(adit_view_str(fine[i])), "'%s'", fine[i]);
}
END_TEST

START_TEST(launch_msg_bounds_every_figure)
{
    struct launch_request r = good(LAUNCH_CREATE);
    r.slot = LAUNCH_SLOTS;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_CREATE);
    r.cpu_count = 0;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r.cpu_count = LAUNCH_CPU_MAX + 1;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_CREATE);
    r.memory_mb = LAUNCH_MEMORY_MB_MIN - 1;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r.memory_mb = LAUNCH_MEMORY_MB_MAX + 1;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_CREATE);
    r.pids_max = 0;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r.pids_max = LAUNCH_PIDS_MAX + 1;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r = good(LAUNCH_EXPLAIN);
    r.pid = 1;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    r.pid = -5;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(launch_msg_takes_each_driver_with_its_accelerators)
{
    for (uint32_t driver = 0; driver <= LAUNCH_DRIVER_CLOUD_HYPERVISOR + 1; driver++) {
        for (uint32_t accel = 0; accel <= LAUNCH_ACCEL_KVM + 1; accel++) {
            struct launch_request r = good(LAUNCH_CREATE);
            bool is_fine =
                driver <= LAUNCH_DRIVER_CLOUD_HYPERVISOR &&
                (driver == LAUNCH_DRIVER_CONTAINER ? accel == 0 : accel <= LAUNCH_ACCEL_KVM);
            r.driver = driver;
            r.accel = accel;
            ck_assert_msg(parse(&r) == (is_fine ? 0 : ADIT_ERR_BAD_INPUT), "%u %u", driver, accel);
        }
    }
    struct launch_request r = good(LAUNCH_CREATE);
    r.disk_mb = LAUNCH_DISK_MB_MAX;
    ck_assert_int_eq(parse(&r), 0);
    r.disk_mb++;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(launch_msg_probes_only_what_can_be_probed)
{
    static const uint32_t without[] = {LAUNCH_DRIVER_CONTAINER, LAUNCH_DRIVER_FIRECRACKER,
                                       LAUNCH_DRIVER_CLOUD_HYPERVISOR};
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        struct launch_request r = good(LAUNCH_PROBE);
        r.driver = without[i];
        ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
    }
    struct launch_request r = good(LAUNCH_PROBE);
    r.slot = LAUNCH_SLOTS;
    ck_assert_int_eq(parse(&r), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(launch_msg_slots_stay_below_two_to_the_31)
{
    uint64_t end = (uint64_t)LAUNCH_UID_BASE + (uint64_t)LAUNCH_SLOTS * LAUNCH_UID_CNT;
    ck_assert_uint_le(end, UINT64_C(1) << 31);
}
END_TEST

START_TEST(launch_msg_checks_replies)
{
    struct launch_reply r = {.magic = LAUNCH_MAGIC, .id = 1}, out;
    ck_assert_int_eq(launch_msg_parse_reply(adit_view_mem(&r, sizeof(r)), &out, NULL), 0);
    ck_assert_int_eq(launch_msg_parse_reply(adit_view_mem(&r, sizeof(r) - 1), &out, NULL),
                     ADIT_ERR_PROTOCOL);
    memset(r.text, 'x', sizeof(r.text));
    ck_assert_int_eq(launch_msg_parse_reply(adit_view_mem(&r, sizeof(r)), &out, NULL),
                     ADIT_ERR_PROTOCOL);
    r = (struct launch_reply){.magic = 1};
    ck_assert_int_eq(launch_msg_parse_reply(adit_view_mem(&r, sizeof(r)), &out, NULL),
                     ADIT_ERR_PROTOCOL);
}
END_TEST

SUITE_MAIN("launch_msg", launch_msg_takes_each_kind, launch_msg_refuses_other_sizes_and_magics,
           launch_msg_keeps_the_id_of_what_it_refuses, launch_msg_refuses_text_without_end,
           launch_msg_refuses_ids_that_are_no_names,
           launch_msg_refuses_paths_that_are_not_in_shortest_form, launch_msg_bounds_every_figure,
           launch_msg_takes_each_driver_with_its_accelerators,
           launch_msg_probes_only_what_can_be_probed, launch_msg_slots_stay_below_two_to_the_31,
           launch_msg_checks_replies)
