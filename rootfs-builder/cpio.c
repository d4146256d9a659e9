/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "newc" format of cpio.
 *
 * Theory of operation
 *
 * What:    each entry is a head of 110 characters (a magic and thirteen numbers in hex), its name
 * with a NUL, and its content; name and content are filled up to multiples of four. The archive
 * ends with the entry TRAILER!!! (Documentation/driver-api/early-userspace/buffer-format.rst).
 * Limits:  CPIO_NAME_MAX, CPIO_FILE_MAX, and what the buffer takes.
 */
#include "rootfs-builder/cpio.h"

#include <sys/stat.h>

#define HEAD_LEN 110
#define END "TRAILER!!!"

/* The numbers of a head that are not always zero. */
struct entry {
    const char *name;
    uint32_t inode, mode, links, major, minor;
    struct adit_view content;
};

void cpio_init(struct cpio *c, struct adit_buf *out)
{
    c->out = out;
    c->inode = 0;
}

/* @at: how far the entry has come. */
static int fill_up(struct adit_buf *out, size_t at)
{
    return adit_buf_append(out, "\0\0\0", (4 - at % 4) % 4);
}

static int append(struct cpio *c, const struct entry *e, struct adit_err *err)
{
    size_t name_len = strlen(e->name) + 1;
    int rc = adit_buf_appendf(c->out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08zX%08X",
                              e->inode, e->mode, 0u, 0u, e->links, 0u, (unsigned)e->content.len, 0u,
                              0u, e->major, e->minor, name_len, 0u);
    if (!rc)
        rc = adit_buf_append(c->out, e->name, name_len);
    if (!rc)
        rc = fill_up(c->out, HEAD_LEN + name_len);
    if (!rc)
        rc = adit_buf_append_view(c->out, e->content);
    if (!rc)
        rc = fill_up(c->out, e->content.len);
    return rc ? adit_err_set(err, rc, "%s does not fit into the archive", e->name) : 0;
}

static bool is_name(const char *name)
{
    struct adit_view part, rest = adit_view_str(name);
    bool has_more = true;
    if (rest.len > CPIO_NAME_MAX || strcmp(name, END) == 0)
        return false;
    while (has_more) {
        has_more = adit_view_split(rest, '/', &part, &rest);
        if (part.len == 0 || adit_view_eq_str(part, ".") || adit_view_eq_str(part, ".."))
            return false;
    }
    return true;
}

int cpio_add(struct cpio *c, const char *name, mode_t mode, struct adit_view content,
             struct adit_err *err)
{
    bool is_file = S_ISREG(mode);
    if (!is_name(name) || !(is_file || S_ISDIR(mode)) || (!is_file && content.len))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "'%s' cannot be in an archive", name);
    if (content.len > CPIO_FILE_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "%s is too large for the archive", name);
    const struct entry e = {name, ++c->inode, mode, is_file ? 1 : 2, 0, 0, content};
    return append(c, &e, err);
}

int cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned major, unsigned minor,
                    struct adit_err *err)
{
    if (!is_name(name) || !S_ISCHR(mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "'%s' cannot be in an archive", name);
    const struct entry e = {name, ++c->inode, mode, 1, major, minor, {NULL, 0}};
    return append(c, &e, err);
}

int cpio_end(struct cpio *c, struct adit_err *err)
{
    const struct entry e = {END, 0, 0, 1, 0, 0, {NULL, 0}};
    return append(c, &e, err);
}
