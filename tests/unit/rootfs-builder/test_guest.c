/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that fill the guest directory, with a kernel of the user's. */
#include "rootfs-builder/guest.h"

#include <elf.h>
#include <string.h>

#include "rootfs-builder/module_order.h"
#include "tests/unit/envd/scratch.h"
#include "tests/unit/suite.h"

#define PAYLOAD 4096

static char out_dir[128], kernel[128], modules[128], envd[128], none[] = "", package[] = "linux",
                                                                suite_name[] = "bookworm";
static struct builder_conf conf;
static struct adit_err err;
static char *const nothing[] = {NULL};

static void write_elf(const char *name)
{
    Elf64_Ehdr head = {.e_machine = EM_X86_64};
    memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    scratch_write(name, (const char *)&head, sizeof head);
}

/* In the test's directory. */
static void run_shell(const char *script)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "cd %s && %s", scratch_dir, script);
    ck_assert_int_eq(system(command), 0); /* NOLINT: a fixed command */
}

/* A bzImage with a gzip of the ELF in it. */
static void write_bzimage(void)
{
    char file[2 * PAYLOAD] = {0};
    struct adit_buf gz;
    write_elf("elf");
    run_shell("gzip -9nkf elf");
    adit_buf_init(&gz, PAYLOAD);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, scratch("elf.gz"), &gz, &err), 0);
    struct adit_view packed = adit_buf_view(&gz);
    file[0x1F1] = 7;
    memcpy(file + 0x1FE, "\x55\xAA", 2);
    memcpy(file + 0x202, "HdrS\x0F\x02", 6);
    file[0x24C] = (char)packed.len;
    file[0x24D] = (char)(packed.len >> 8);
    memcpy(file + PAYLOAD, packed.ptr, packed.len);
    scratch_write("kernel", file, PAYLOAD + packed.len);
    adit_buf_fini(&gz);
}

static const char wanted_dep[] =
    "virtio_mmio virtio_blk erofs overlay vmw_vsock_virtio_transport virtio_pci nf_tables "
    "nft_chain_nat nft_redir nft_queue nfnetlink_queue nft_reject_ipv4 nft_reject_ipv6 "
    "nfnetlink_cttimeout virtio_balloon extra";

/* A module of each name, one compressed; each has its name in it. */
static void write_modules(void)
{
    struct adit_buf dep;
    struct adit_view word, rest = adit_view_str(wanted_dep);
    bool has_more = true;
    char name[64];
    ck_assert_int_eq(mkdir(scratch("m"), 0755), 0);
    adit_buf_init(&dep, 8192);
    while (has_more) {
        has_more = adit_view_split(rest, ' ', &word, &rest);
        ck_assert_int_eq(adit_buf_appendf(&dep, "%.*s.ko%s:\n", ADIT_VIEW_ARG(word),
                                          adit_view_eq_str(word, "extra") ? ".gz" : ""),
                         0);
        (void)snprintf(name, sizeof name, "m/%.*s.ko", ADIT_VIEW_ARG(word));
        scratch_write(name, word.ptr, word.len);
    }
    run_shell("gzip -9n m/extra.ko");
    scratch_write("m/modules.dep", adit_buf_view(&dep).ptr, adit_buf_view(&dep).len);
    scratch_write("m/modules.builtin", "kernel/ext4.ko\n", 15);
    adit_buf_fini(&dep);
}

static void setup(void)
{
    (void)snprintf(out_dir, sizeof out_dir, "%s", scratch("out"));
    (void)snprintf(kernel, sizeof kernel, "%s", scratch("kernel"));
    (void)snprintf(modules, sizeof modules, "%s", scratch("m"));
    (void)snprintf(envd, sizeof envd, "%s", scratch("elf"));
    conf = (struct builder_conf){.out = out_dir,
                                 .suite = suite_name,
                                 .kernel_package = package,
                                 .kernel = kernel,
                                 .modules = none,
                                 .load = none,
                                 .envd = envd};
}

static void teardown(void)
{
}

START_TEST(guest_kernel_is_taken_as_it_is_and_unpacked)
{
    write_bzimage();
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    run_shell("cmp kernel out/vmlinuz && cmp elf out/vmlinux && test ! -e out/.kernel");
    write_elf("kernel"); /* and one that is an ELF already has no other form */
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert(!scratch_exists("out/vmlinuz"));
    ck_assert(scratch_exists("out/vmlinux") && scratch_is("out/modules/order", "", 0));
}
END_TEST

START_TEST(guest_kernel_that_is_up_to_date_is_left_alone)
{
    struct stat before, after;
    write_bzimage();
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert_int_eq(stat(scratch("out/vmlinux"), &before), 0);
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert_int_eq(stat(scratch("out/vmlinux"), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_int_eq(unlink(scratch("out/kernel.json")), 0); /* a builder that was killed */
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert_int_eq(stat(scratch("out/vmlinux"), &after), 0);
    ck_assert_uint_ne(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(guest_modules_are_laid_out_in_their_order)
{
    static const char late[] = "nf_tables.ko\nnft_chain_nat.ko\nnft_redir.ko\nnft_queue.ko\n"
                               "nfnetlink_queue.ko\nnft_reject_ipv4.ko\nnft_reject_ipv6.ko\n"
                               "nfnetlink_cttimeout.ko\nvirtio_balloon.ko\nextra.ko\n";
    char load[] = "extra";
    write_elf("kernel");
    write_modules();
    conf.modules = modules;
    conf.load = load;
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert(scratch_is("out/modules/order.pci", "virtio_pci.ko\n", 14));
    ck_assert(scratch_is("out/modules/order.late", late, strlen(late)));
    ck_assert(scratch_is("out/modules/extra.ko", "extra", 5));
    ck_assert(!scratch_exists("out/modules/ext4.ko")); /* built in */
}
END_TEST

START_TEST(guest_kernel_without_what_is_needed_is_refused_and_changes_nothing)
{
    char load[] = "missing";
    write_elf("kernel");
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    scratch_write("kernel", "x", 1);
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), ADIT_ERR_BAD_INPUT);
    write_elf("kernel");
    write_modules();
    conf.modules = modules;
    conf.load = load;
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), ADIT_ERR_NOT_FOUND);
    ck_assert(scratch_exists("out/vmlinux") && !scratch_exists("out/.kernel"));
    ck_assert(scratch_is("out/modules/order", "", 0));
    conf.kernel = none;
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(guest_initramfs_is_the_same_bytes_each_time)
{
    write_elf("kernel");
    write_elf("elf");
    write_modules();
    conf.modules = modules;
    ck_assert_int_eq(initramfs_command.run(&conf, nothing, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(kernel_command.run(&conf, nothing, &err), 0);
    ck_assert_int_eq(initramfs_command.run(&conf, nothing, &err), 0);
    run_shell("cp out/initramfs first && touch out/modules/* elf");
    ck_assert_int_eq(initramfs_command.run(&conf, nothing, &err), 0);
    run_shell("cmp first out/initramfs");
    char *const word[] = {none, NULL};
    ck_assert_int_eq(initramfs_command.run(&conf, word, &err), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("guest", .fixtures = {{scratch_setup, scratch_teardown}, {setup, teardown}},
                TESTS(guest_kernel_is_taken_as_it_is_and_unpacked,
                      guest_kernel_that_is_up_to_date_is_left_alone,
                      guest_modules_are_laid_out_in_their_order,
                      guest_kernel_without_what_is_needed_is_refused_and_changes_nothing,
                      guest_initramfs_is_the_same_bytes_each_time))
