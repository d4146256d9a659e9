/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/kernel_image.h"

#include <elf.h>
#include <string.h>

#include "tests/unit/suite.h"

#define SECTORS 3
#define START ((SECTORS + 1) * 512)

static char file[8192];
static struct kernel_image image;
static struct adit_err err;

static void put(size_t at, uint32_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        file[at + i] = (char)(value >> (8 * i));
}

/* A bzImage whose payload begins 16 bytes after its set-up code. */
static void make(const char *magic, size_t magic_len, uint32_t len)
{
    memset(file, 0, sizeof file);
    file[0x1F1] = SECTORS;
    put(0x1FE, 0xAA55, 2);
    memcpy(file + 0x202, "HdrS", 4);
    put(0x206, 0x020F, 2);
    put(0x248, 16, 4);
    put(0x24C, len, 4);
    memcpy(file + START + 16, magic, magic_len);
}

static int parse(size_t len)
{
    return kernel_image_parse(adit_view_mem(file, len), &image, &err);
}

START_TEST(kernel_image_finds_what_is_compressed)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *tool;
        size_t cut;
    } formats[] = {{"\x02\x21\x4C\x18", 4, "lz4", 4},
                   {"\x28\xB5\x2F\xFD", 4, "zstd", 4},
                   {"\xFD"
                    "7zXZ",
                    5, "xz", 4},
                   {"\x1F\x8B\x08", 3, "gzip", 0}};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        make(formats[i].magic, formats[i].len, 100);
        ck_assert_int_eq(parse(START + 16 + 100), 0);
        ck_assert_int_eq(image.kind, KERNEL_IMAGE_BZIMAGE);
        ck_assert_str_eq(image.tool, formats[i].tool);
        ck_assert_ptr_eq(image.payload.ptr, file + START + 16);
        ck_assert_uint_eq(image.payload.len, 100 - formats[i].cut);
    }
}
END_TEST

START_TEST(kernel_image_counts_four_sectors_where_none_are_said)
{
    make("", 0, 100);
    file[0x1F1] = 0;
    memcpy(file + 5 * 512 + 16, "\x1F\x8B\x08", 3);
    ck_assert_int_eq(parse(5 * 512 + 16 + 100), 0);
    ck_assert_ptr_eq(image.payload.ptr, file + 5 * 512 + 16);
}
END_TEST

START_TEST(kernel_image_refuses_a_payload_outside_of_the_file)
{
    make("\x1F\x8B\x08", 3, 100);
    for (size_t len = 0; len < START + 16 + 100; len++)
        ck_assert_int_eq(parse(len), ADIT_ERR_BAD_INPUT);
    static const uint32_t edges[] = {0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        make("\x1F\x8B\x08", 3, edges[i]);
        ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
        make("\x1F\x8B\x08", 3, 100);
        put(0x248, edges[i], 4);
        ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    }
}
END_TEST

START_TEST(kernel_image_refuses_what_is_no_kernel_for_it)
{
    make("\x1F\x8B\x08", 3, 100);
    put(0x206, 0x0207, 2);
    ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    make("\x1F\x8B\x08", 3, 100);
    put(0x1FE, 0, 2);
    ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    make("BZh9", 4, 100);
    ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    make("\x02\x21\x4C\x18", 4, 8);
    ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    memset(file, 0, sizeof file);
    ck_assert_int_eq(parse(sizeof file), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse(0), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(kernel_image_knows_an_elf_for_this_machine)
{
    Elf64_Ehdr head = {.e_machine = EM_X86_64};
    memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    memcpy(file, &head, sizeof head);
    ck_assert_int_eq(parse(sizeof head), 0);
    ck_assert_int_eq(image.kind, KERNEL_IMAGE_ELF);
    ck_assert_int_eq(parse(sizeof head - 1), ADIT_ERR_BAD_INPUT);
    head.e_machine = EM_AARCH64;
    memcpy(file, &head, sizeof head);
    ck_assert_int_eq(parse(sizeof head), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("kernel_image", TESTS(kernel_image_finds_what_is_compressed,
                                      kernel_image_counts_four_sectors_where_none_are_said,
                                      kernel_image_refuses_a_payload_outside_of_the_file,
                                      kernel_image_refuses_what_is_no_kernel_for_it,
                                      kernel_image_knows_an_elf_for_this_machine))
