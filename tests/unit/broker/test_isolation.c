/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/isolation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static struct vmm container, qemu;
static struct vmm_set set;
static struct isolation_vm vm;
static struct adit_err error;
static char dir[64];

static void setup(void)
{
    container = (struct vmm){.name = "container", .isolation = "container"};
    qemu = (struct vmm){.name = "qemu", .isolation = "vm"};
    set = (struct vmm_set){.items = {&container, &qemu}, .cnt = 2};
    memset(&vm, 0, sizeof(vm));
    strcpy(dir, "/tmp/adit-isolation-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert(system(command) == 0);
}

/* Options as given, the others as they are by themselves. */
static void configure(struct broker_conf *c, const char *isolation, const char *allowed,
                      const char *accel)
{
    char *argv[] = {(char[]){"broker"}, NULL};
    int rest, info;
    ck_assert_int_eq(broker_conf_load(1, argv, c, &rest, &info, NULL), 0);
    free(c->isolation);
    free(c->allow_isolations);
    free(c->accel);
    c->isolation = strdup(isolation);
    c->allow_isolations = strdup(allowed);
    c->accel = strdup(accel);
}

static const struct {
    const char *isolation, *allowed, *accel;
    bool kvm_works;
    const char *qemu_lacks;
    const char *fallback; /* NULL: refused */
    bool has_vm, has_container;
} choices[] = {
    {"auto", "vm,container", "auto", true, NULL, "vm", true, true},
    {"auto", "vm,container", "auto", false, NULL, "container", true, true},
    {"auto", "vm,container", "tcg", true, NULL, "container", true, true},
    {"auto", "vm,container", "kvm", false, NULL, "vm", true, true},
    {"auto", "vm,container", "auto", true, "QEMU", "container", false, true},
    {"auto", "vm", "auto", true, NULL, "vm", true, false},
    {"auto", "vm", "auto", false, NULL, NULL, true, false}, /* emulated only when asked for */
    {"auto", "container", "auto", true, NULL, "container", false, true},
    {"vm", "vm,container", "auto", false, NULL, "vm", true, true},
    {"vm", "vm,container", "auto", true, "QEMU", NULL, false, true},
    {"container", " vm , container ", "auto", true, NULL, "container", true, true},
    {"gvisor", "gvisor,vm,container", "auto", true, NULL, NULL, true, true},
};

START_TEST(isolation_falls_back_to_the_strongest_that_works)
{
    struct broker_conf c;
    configure(&c, choices[_i].isolation, choices[_i].allowed, choices[_i].accel);
    vm.kvm.works = choices[_i].kvm_works;
    qemu.unusable = choices[_i].qemu_lacks;
    ck_assert_int_eq(isolation_check(&c, NULL), 0);
    int rc = isolation_choose(&c, &vm, &set, &error);
    if (choices[_i].fallback) {
        ck_assert_msg(rc == 0, "%s", error.msg);
        ck_assert_str_eq(set.fallback->isolation, choices[_i].fallback);
    } else {
        ck_assert_int_eq(rc, ADIT_ERR_PRECONDITION);
    }
    ck_assert_int_eq(!qemu.unusable, choices[_i].has_vm);
    ck_assert_int_eq(!container.unusable, choices[_i].has_container);
    broker_conf_fini(&c);
}
END_TEST

START_TEST(isolation_says_why_there_is_none)
{
    struct broker_conf c;
    configure(&c, "vm", "vm,container", "auto");
    qemu.unusable = "QEMU is not installed";
    ck_assert_int_eq(isolation_choose(&c, &vm, &set, &error), ADIT_ERR_PRECONDITION);
    ck_assert_str_eq(error.msg, "isolation: vm: QEMU is not installed");
    broker_conf_fini(&c);
}
END_TEST

START_TEST(isolation_takes_the_monitor_that_the_operator_chose)
{
    struct broker_conf c;
    configure(&c, "auto", "vm,container", "kvm");
    free(c.vmm);
    c.vmm = strdup("firecracker");
    ck_assert_int_eq(isolation_choose(&c, &vm, &set, NULL), 0);
    ck_assert_str_eq(qemu.unusable, "the operator chose another monitor");
    ck_assert_ptr_eq(set.fallback, &container);
    broker_conf_fini(&c);
}
END_TEST

static const struct {
    const char *isolation, *allowed, *accel;
} wrong[] = {{"VM", "vm", "auto"}, {"", "vm", "auto"},          {"vm", "vm,jail", "auto"},
             {"vm", "vm,", "xen"}, {"vm", "container", "auto"}, {"vm", "", "auto"}};

START_TEST(isolation_refuses_words_that_it_does_not_know)
{
    struct broker_conf c;
    configure(&c, wrong[_i].isolation, wrong[_i].allowed, wrong[_i].accel);
    ck_assert_int_eq(isolation_check(&c, NULL), ADIT_ERR_BAD_INPUT);
    broker_conf_fini(&c);
}
END_TEST

/* ---- what is known of KVM ---- */

static void init(struct kvm_probe *p, const char *boot_id, const char *file)
{
    kvm_probe_init(p, boot_id, &file, 1);
    p->is_known = false; /* whatever device this host has */
    p->why[0] = '\0';
}

START_TEST(kvm_probe_is_remembered_for_its_boot_and_its_files)
{
    struct kvm_probe p, again;
    char file[96];
    (void)snprintf(file, sizeof(file), "%s/vmlinux", dir);
    init(&p, "boot 1", file);
    p.is_known = true;
    (void)snprintf(p.why, sizeof(p.why), "the guest did not leave within 3 s");
    ck_assert_int_eq(kvm_probe_save(&p, dir, NULL), 0);

    init(&again, "boot 1", file);
    kvm_probe_load(&again, dir);
    ck_assert(again.is_known && !again.works);
    ck_assert_str_eq(again.why, p.why);
    init(&again, "boot 2", file);
    kvm_probe_load(&again, dir);
    ck_assert(!again.is_known);
    FILE *f = fopen(file, "w"); /* another kernel */
    ck_assert(f && fclose(f) == 0);
    init(&again, "boot 1", file);
    kvm_probe_load(&again, dir);
    ck_assert(!again.is_known);
}
END_TEST

static const char *const torn[] = {"",
                                   "{",
                                   "[]",
                                   "{\"key\":7}",
                                   "{\"key\":\"x\",\"works\":true}",
                                   "{\"key\":null,\"works\":true}"};

START_TEST(kvm_probe_believes_no_file_that_is_torn)
{
    struct kvm_probe p;
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/" KVM_PROBE_FILE, dir);
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(torn[_i], f) >= 0 && fclose(f) == 0);
    init(&p, "boot 1", path);
    kvm_probe_load(&p, dir);
    ck_assert(!p.is_known && !p.works);
}
END_TEST

START_TEST(kvm_probe_keeps_no_trouble_that_is_not_kvms)
{
    static const int troubles[] = {ADIT_ERR_PRECONDITION, ADIT_ERR_UNAVAILABLE, ADIT_ERR_NO_MEMORY};
    struct kvm_probe p = {0};
    struct adit_err err;
    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        (void)adit_err_set(&err, troubles[i], "not now");
        kvm_probe_note(&p, &err);
        ck_assert(!p.is_known && !p.works);
        ck_assert_str_eq(p.why, "not now");
    }
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "a guest does not boot");
    kvm_probe_note(&p, &err);
    ck_assert(p.is_known && !p.works);
    kvm_probe_note(&p, NULL);
    ck_assert(p.is_known && p.works && !p.why[0]);
}
END_TEST

START_TEST(isolation_probes_only_where_the_answer_counts)
{
    struct broker_conf c;
    configure(&c, "auto", "vm,container", "auto");
    ck_assert(isolation_needs_probe(&c, &vm));
    vm.kvm.is_known = true;
    ck_assert(!isolation_needs_probe(&c, &vm));
    vm.kvm.is_known = false;
    strcpy(vm.missing, "QEMU");
    ck_assert(!isolation_needs_probe(&c, &vm));
    vm.missing[0] = '\0';
    broker_conf_fini(&c);
    configure(&c, "auto", "vm,container", "tcg");
    ck_assert(!isolation_needs_probe(&c, &vm));
    broker_conf_fini(&c);
    configure(&c, "auto", "container", "auto");
    ck_assert(!isolation_needs_probe(&c, &vm));
    broker_conf_fini(&c);
}
END_TEST

START_TEST(isolation_names_what_a_machine_lacks)
{
    struct broker_conf c;
    struct isolation_vm found;
    configure(&c, "auto", "vm", "auto");
    free(c.qemu);
    c.qemu = strdup("no-such-qemu");
    isolation_find_vm(&c, "boot", &found);
    ck_assert_str_eq(found.missing,
                     "no-such-qemu is not installed (apt-get install qemu-system-x86)");
    free(c.qemu);
    free(c.vsock_device);
    free(c.guest_dir);
    c.qemu = strdup("/bin/true");
    c.vsock_device = strdup("/nowhere/vsock-device");
    c.guest_dir = strdup(dir);
    isolation_find_vm(&c, "boot", &found);
    ck_assert_str_eq(found.missing, "there is no program /nowhere/vsock-device");
    free(c.vsock_device);
    c.vsock_device = strdup("/bin/true");
    isolation_find_vm(&c, "boot", &found);
    ck_assert_ptr_nonnull(strstr(found.missing, "has no guest images"));
    broker_conf_fini(&c);
}
END_TEST

SUITE_MAIN_WITH(
    "isolation", .fixtures = {{setup, teardown}},
    TESTS(isolation_says_why_there_is_none, isolation_takes_the_monitor_that_the_operator_chose,
          kvm_probe_is_remembered_for_its_boot_and_its_files,
          kvm_probe_keeps_no_trouble_that_is_not_kvms,
          isolation_probes_only_where_the_answer_counts, isolation_names_what_a_machine_lacks),
    LOOPS({isolation_falls_back_to_the_strongest_that_works, sizeof(choices) / sizeof(choices[0])},
          {isolation_refuses_words_that_it_does_not_know, sizeof(wrong) / sizeof(wrong[0])},
          {kvm_probe_believes_no_file_that_is_torn, sizeof(torn) / sizeof(torn[0])}))
