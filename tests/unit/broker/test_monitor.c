/* SPDX-License-Identifier: Apache-2.0 */
/* What monitors with an API are told. Whether that is what their API takes: tests/vmm. */
#include "broker/vmm/monitor.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/jtext.h"
#include "broker/vmm/cloud_hypervisor.h"
#include "broker/vmm/firecracker.h"

#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

static struct monitor_machine machine_of(uint32_t cpu_count, const char *overlay)
{
    struct monitor_machine m = {.cpu_count = cpu_count, .cid = 7, .memory_mb = 512};
    (void)snprintf(m.kernel, sizeof(m.kernel), "/g/vmlinux");
    (void)snprintf(m.initramfs, sizeof(m.initramfs), "/g/initramfs");
    (void)snprintf(m.root, sizeof(m.root), "/t/root.erofs");
    (void)snprintf(m.overlay, sizeof(m.overlay), "%s", overlay);
    (void)snprintf(m.channel, sizeof(m.channel), "/s/vm/run/channel");
    (void)snprintf(m.kernel_args, sizeof(m.kernel_args), "quiet -- --vm");
    return m;
}

static void check_step(const struct vmm_api_plan *p, size_t i, const char *path, const char *text)
{
    ck_assert_uint_lt(i, p->cnt);
    ck_assert_str_eq(p->steps[i].path, path);
    struct adit_buf body;
    adit_buf_init(&body, VMM_API_BODY_CAP);
    if (p->steps[i].body)
        ck_assert_int_eq(jtext_append(&body, p->steps[i].body), 0);
    ck_assert_int_eq(adit_buf_append_char(&body, '\0'), 0);
    ck_assert_str_eq(adit_buf_view(&body).ptr, text);
    adit_buf_fini(&body);
}

START_TEST(firecracker_is_told_the_parts_of_a_machine_and_then_to_start)
{
    struct vmm_api_plan p = {.cnt = 0};
    struct monitor_machine m = machine_of(3, "/s/vm/overlay.ext4");
    ck_assert_int_eq(firecracker_plan(&m, &p, NULL), 0);
    check_step(&p, 0, "/machine-config", "{\"vcpu_count\":4,\"mem_size_mib\":512,\"smt\":false}");
    check_step(&p, 1, "/boot-source",
               "{\"kernel_image_path\":\"/g/vmlinux\",\"initrd_path\":\"/g/initramfs\","
               "\"boot_args\":\"quiet -- --vm\"}");
    check_step(&p, 2, "/drives/root",
               "{\"drive_id\":\"root\",\"path_on_host\":\"/t/root.erofs\",\"is_root_device\":false,"
               "\"is_read_only\":true,\"cache_type\":\"Unsafe\"}");
    check_step(&p, 3, "/drives/overlay",
               "{\"drive_id\":\"overlay\",\"path_on_host\":\"/s/vm/overlay.ext4\","
               "\"is_root_device\":false,\"is_read_only\":false,\"cache_type\":\"Unsafe\"}");
    check_step(&p, 4, "/vsock", "{\"guest_cid\":7,\"uds_path\":\"/s/vm/run/channel\"}");
    check_step(&p, 5, "/balloon",
               "{\"amount_mib\":0,\"deflate_on_oom\":true,\"free_page_reporting\":true}");
    check_step(&p, 6, "/actions", "{\"action_type\":\"InstanceStart\"}");
    ck_assert_uint_eq(p.cnt, 7);
    vmm_api_plan_fini(&p);
}
END_TEST

START_TEST(firecracker_has_no_more_than_32_processors)
{
    struct vmm_api_plan p = {.cnt = 0};
    struct monitor_machine m = machine_of(FIRECRACKER_CPU_MAX, "");
    ck_assert_int_eq(firecracker_plan(&m, &p, NULL), 0);
    ck_assert_uint_eq(p.cnt, 6); /* no disk of its own */
    vmm_api_plan_fini(&p);
    m = machine_of(FIRECRACKER_CPU_MAX + 1, "");
    ck_assert_int_eq(firecracker_plan(&m, &p, NULL), ADIT_ERR_LIMIT);
}
END_TEST

START_TEST(firecracker_versions_before_1_16_1_are_old)
{
    static const char *const recent[] = {"Firecracker v1.16.1", "Firecracker v1.16.10",
                                         "Firecracker v1.17.0", "Firecracker v2.0.0",
                                         "Firecracker v1.16.1-dirty"};
    static const char *const old[] = {"",
                                      "Firecracker",
                                      "Firecracker v",
                                      "Firecracker v1.16",
                                      "Firecracker v1.16.0",
                                      "Firecracker v1.9.9",
                                      "Firecracker v0.25.2",
                                      "Firecracker v01.17.0",
                                      "Firecracker v99999999999.1.1",
                                      "firecracker v1.16.1",
                                      "QEMU emulator version 7.2"};
    for (size_t i = 0; i < sizeof(recent) / sizeof(recent[0]); i++)
        ck_assert_msg(firecracker_is_recent(adit_view_str(recent[i])), "%s", recent[i]);
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        ck_assert_msg(!firecracker_is_recent(adit_view_str(old[i])), "%s", old[i]);
}
END_TEST

START_TEST(cloud_hypervisor_is_told_the_machine_and_then_to_boot)
{
    struct vmm_api_plan p = {.cnt = 0};
    struct monitor_machine m = machine_of(2, "/s/vm/overlay.ext4");
    ck_assert_int_eq(cloud_hypervisor_plan(&m, &p, NULL), 0);
    check_step(
        &p, 0, "/api/v1/vm.create",
        "{\"payload\":{\"kernel\":\"/g/vmlinux\",\"initramfs\":\"/g/initramfs\","
        "\"cmdline\":\"quiet -- --vm\"},\"cpus\":{\"boot_vcpus\":2,\"max_vcpus\":2},"
        "\"memory\":{\"size\":536870912,\"shared\":false},"
        "\"disks\":[{\"path\":\"/t/root.erofs\",\"readonly\":true,\"serial\":\"root\"},"
        "{\"path\":\"/s/vm/overlay.ext4\",\"readonly\":false,\"serial\":\"overlay\"}],"
        "\"vsock\":{\"cid\":7,\"socket\":\"/s/vm/run/channel\"},\"serial\":{\"mode\":\"Tty\"},"
        "\"console\":{\"mode\":\"Off\"},\"balloon\":{\"size\":0,\"deflate_on_oom\":true,"
        "\"free_page_reporting\":true},\"rng\":{\"src\":\"/dev/urandom\"},"
        "\"landlock_enable\":true,"
        "\"landlock_rules\":[{\"path\":\"/s/vm/run\",\"access\":\"rw\"}]}");
    check_step(&p, 1, "/api/v1/vm.boot", "");
    ck_assert_uint_eq(p.cnt, 2);
    vmm_api_plan_fini(&p);
}
END_TEST

static void check_no_memory(int (*plan)(const struct monitor_machine *, struct vmm_api_plan *,
                                        struct adit_err *))
{
    struct monitor_machine m = machine_of(2, "/o");
    int rc = ADIT_ERR_NO_MEMORY;
    for (long n = 1; rc; n++) {
        struct vmm_api_plan p = {.cnt = 0};
        long before = failing_malloc.live;
        failing_malloc.countdown = n;
        rc = plan(&m, &p, NULL);
        failing_malloc.countdown = 0;
        ck_assert(rc == 0 || rc == ADIT_ERR_NO_MEMORY);
        vmm_api_plan_fini(&p);
        ck_assert_int_eq(failing_malloc.live, before);
        ck_assert_int_lt(n, 500);
    }
}

START_TEST(monitor_plans_bear_that_there_is_no_memory)
{
    if (!FAILING_MALLOC) {
        suite_skip("monitor_plans_bear_that_there_is_no_memory", FAILING_MALLOC_NEEDS);
        return;
    }
    json_object_seed(1);
    check_no_memory(firecracker_plan);
    check_no_memory(cloud_hypervisor_plan);
}
END_TEST

SUITE_MAIN("monitor", firecracker_is_told_the_parts_of_a_machine_and_then_to_start,
           firecracker_has_no_more_than_32_processors, firecracker_versions_before_1_16_1_are_old,
           cloud_hypervisor_is_told_the_machine_and_then_to_boot,
           monitor_plans_bear_that_there_is_no_memory)
