/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage and vmlinux.
 *
 * Theory of operation
 *
 * What:    a bzImage is a boot sector, (setup_sects + 1) * 512 bytes of it and of set-up code, then
 * the protected-mode code, in which the header says where the compressed vmlinux lies
 * (Documentation/arch/x86/boot.rst, protocol 2.08). But for gzip, whose format has it, the kernel's
 * build appends the size of the whole, four bytes that no decompressor wants.
 * Trust:   the file is a user's; nothing in it is used as a length or place before it was checked.
 */
#include "rootfs-builder/kernel_image.h"

#include <elf.h>

#define SETUP_SECTS 0x1F1
#define BOOT_FLAG 0x1FE
#define MAGIC 0x202
#define VERSION 0x206
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24C
#define HEAD_LEN 0x250
#define VERSION_WITH_PAYLOAD 0x0208
#define SECTOR 512
#define SIZE_LEN 4

static const struct {
    const char *magic;
    size_t len;
    const char *tool, *package;
    bool has_size; /* the four bytes more */
} formats[] = {
    {"\x02\x21\x4C\x18", 4, "lz4", "lz4", true},
    {"\x28\xB5\x2F\xFD", 4, "zstd", "zstd", true},
    {"\xFD"
     "7zXZ",
     5, "xz", "xz-utils", true},
    {"\x1F\x8B\x08", 3, "gzip", "gzip", false},
};

static uint32_t le(const char *p, size_t len)
{
    uint32_t value = 0;
    while (len-- > 0)
        value = value << 8 | (uint8_t)p[len];
    return value;
}

/* Index in formats; -1: none. */
static int format_of(struct adit_view bytes)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (bytes.len >= formats[i].len && memcmp(bytes.ptr, formats[i].magic, formats[i].len) == 0)
            return (int)i;
    return -1;
}

const char *kernel_image_tool(struct adit_view bytes, const char **package)
{
    int i = format_of(bytes);
    if (i < 0)
        return NULL;
    *package = formats[i].package;
    return formats[i].tool;
}

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

static int parse_elf(struct adit_view file, struct adit_err *err)
{
    Elf64_Ehdr head;
    if (file.len < sizeof(head))
        return bad(err, "the kernel is cut short");
    memcpy(&head, file.ptr, sizeof(head));
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
        head.e_machine != EM_X86_64)
        return bad(err, "the kernel is not one for x86-64");
    return 0;
}

static int parse_payload(struct adit_view file, struct kernel_image *out, struct adit_err *err)
{
    uint64_t sectors = (uint8_t)file.ptr[SETUP_SECTS];
    uint64_t start = ((sectors ? sectors : 4) + 1) * SECTOR + le(file.ptr + PAYLOAD_OFFSET, 4);
    uint64_t len = le(file.ptr + PAYLOAD_LENGTH, 4);
    if (len > file.len || start > file.len - len)
        return bad(err, "the kernel is cut short: what is compressed in it ends outside of it");
    out->payload = adit_view_mem(file.ptr + start, len);
    int format = format_of(out->payload);
    if (format < 0)
        return bad(err, "the kernel is compressed in a way that is not known");
    if (formats[format].has_size && len <= SIZE_LEN + formats[format].len)
        return bad(err, "the kernel has nothing in it");
    if (formats[format].has_size)
        out->payload.len -= SIZE_LEN;
    out->tool = formats[format].tool;
    out->package = formats[format].package;
    return 0;
}

int kernel_image_parse(struct adit_view file, struct kernel_image *out, struct adit_err *err)
{
    *out = (struct kernel_image){.kind = KERNEL_IMAGE_ELF};
    if (adit_view_has_prefix(file, ELFMAG))
        return parse_elf(file, err);
    if (file.len < HEAD_LEN || memcmp(file.ptr + MAGIC, "HdrS", 4) != 0 ||
        le(file.ptr + BOOT_FLAG, 2) != 0xAA55)
        return bad(err, "not a kernel: neither a bzImage nor a vmlinux");
    if (le(file.ptr + VERSION, 2) < VERSION_WITH_PAYLOAD)
        return bad(err, "the kernel is older than 2.6.24 and does not say where its image is");
    out->kind = KERNEL_IMAGE_BZIMAGE;
    return parse_payload(file, out, err);
}
