/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a kernel that a user gives: by the first byte its image, or the lists of its modules
 * (modules.dep and modules.builtin, with a NUL between them).
 * Oracles: what is compressed lies in the file; each module is listed once, after what its line
 * says that it needs, by a path that stays in the folder; asking again changes nothing.
 */
#include "oracle.h"

#include "rootfs-builder/kernel_image.h"
#include "rootfs-builder/module_order.h"

static const char *const names[] = {"a", "b_b", "ext4", "virtio-blk"};

static void check_image(struct adit_view file)
{
    struct kernel_image image;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = kernel_image_parse(file, &image, &err);
    ORACLE(rc == err.code && (rc == 0 || rc == ADIT_ERR_BAD_INPUT));
    if (rc || image.kind == KERNEL_IMAGE_ELF)
        return;
    ORACLE(image.tool && image.package && image.payload.len > 0);
    ORACLE(image.payload.ptr >= file.ptr &&
           image.payload.ptr + image.payload.len <= file.ptr + file.len);
}

static bool stays(struct adit_view path)
{
    struct adit_view part;
    bool has_more = true, is_up = false;
    while (has_more && !is_up) {
        has_more = adit_view_split(path, '/', &part, &path);
        is_up = adit_view_eq_str(part, "..");
    }
    return !is_up;
}

static void check_paths(const struct module_order *o)
{
    ORACLE(o->cnt <= MODULE_ORDER_MAX);
    for (size_t i = 0; i < o->cnt; i++) {
        struct adit_view path = o->paths[i];
        ORACLE(path.len > 3 && path.ptr[0] != '/' && !memchr(path.ptr, '\n', path.len));
        ORACLE(stays(path));
        ORACLE(module_order_file(path).len > 3);
        for (size_t k = 0; k < i; k++)
            ORACLE(!adit_view_eq(path, o->paths[k]));
    }
}

static void check_modules(struct adit_view text)
{
    struct adit_view dep, builtin;
    struct module_order o = {.cnt = 0};
    struct adit_err err;
    if (!adit_view_split(text, '\0', &dep, &builtin))
        builtin = adit_view_mem(NULL, 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int rc = module_order_add(&o, dep, builtin, names[i], &err);
        size_t cnt = o.cnt;
        if (rc == 0) {
            ORACLE(module_order_add(&o, dep, builtin, names[i], &err) == 0);
            ORACLE(o.cnt == cnt);
        }
    }
    check_paths(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct adit_view rest = adit_view_mem(data + 1, size - 1);
    if (data[0] & 1)
        check_image(rest);
    else
        check_modules(rest);
    return 0;
}
