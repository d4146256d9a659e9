/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder initramfs: the first root of a virtual machine.
 *
 * Theory of operation
 *
 * What:    an archive of the agent, as /init, and the modules that `rootfs-builder kernel` laid
 * out. The same files make the same bytes: nothing of an entry but name, mode and content is in it,
 * and entries are in the order of their names. It is not compressed: it is read from memory, and
 * what a guest does not unpack takes no time. Limits:  ARCHIVE_MAX.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "rootfs-builder/cpio.h"
#include "rootfs-builder/guest.h"

#define ARCHIVE_MAX (256u * 1024 * 1024)

static const struct adit_conf_row rows[] = {
    {"out", ADIT_CONF_STRING, BUILDER_ROW(out), GUEST_DIR, 1, 3000, "guest directory"},
    {"envd", ADIT_CONF_STRING, BUILDER_ROW(envd), "/usr/local/lib/adit/envd", 1, 3000,
     "the agent, as it was installed: without symbols"},
    BUILDER_ROWS_END,
};

static int add_file(struct cpio *c, int dir_fd, const char *path, const char *name, mode_t mode,
                    struct adit_err *err)
{
    struct adit_buf content;
    adit_buf_init(&content, GUEST_MODULE_MAX);
    int rc = adit_file_read(dir_fd, path, &content, err);
    if (!rc)
        rc = cpio_add(c, name, S_IFREG | mode, adit_buf_view(&content), err);
    adit_buf_fini(&content);
    return rc;
}

static int is_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int add_modules(struct cpio *c, int out_fd, struct adit_err *err)
{
    char path[300];
    struct dirent **names;
    int rc = cpio_add(c, "modules", S_IFDIR | 0755, adit_view_mem(NULL, 0), err);
    int cnt = rc ? 0 : scandirat(out_fd, "modules", &names, is_entry, NULL);
    if (cnt < 0)
        return adit_err_sys(err, errno, "modules: `rootfs-builder kernel` comes first");
    if (rc)
        return rc;
    /* As bytes, not as the locale sorts. */
    for (int i = 1; i < cnt; i++)
        for (int k = i; k > 0 && strcmp(names[k - 1]->d_name, names[k]->d_name) > 0; k--) {
            struct dirent *before = names[k - 1];
            names[k - 1] = names[k];
            names[k] = before;
        }
    for (int i = 0; i < cnt; i++) {
        (void)snprintf(path, sizeof(path), "modules/%s", names[i]->d_name);
        if (!rc)
            rc = add_file(c, out_fd, path, path, 0644, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* The kernel opens /dev/console before anything could mount what has it. */
static int write_archive(const struct builder_conf *conf, int out_fd, struct adit_buf *archive,
                         struct adit_err *err)
{
    struct cpio c;
    cpio_init(&c, archive);
    int rc = cpio_add(&c, "dev", S_IFDIR | 0755, adit_view_mem(NULL, 0), err);
    if (!rc)
        rc = cpio_add_device(&c, "dev/console", S_IFCHR | 0600, 5, 1, err);
    if (!rc)
        rc = add_file(&c, AT_FDCWD, conf->envd, "init", 0755, err);
    if (!rc)
        rc = add_modules(&c, out_fd, err);
    return rc ? rc : cpio_end(&c, err);
}

static int run(struct builder_conf *conf, char *const *words, struct adit_err *err)
{
    struct adit_buf archive;
    if (words[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", words[0]);
    ADIT_CLEANUP_CLOSE int out_fd = open(conf->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out_fd < 0)
        return adit_err_sys(err, errno, "%s: `rootfs-builder kernel` comes first", conf->out);
    adit_buf_init(&archive, ARCHIVE_MAX);
    int rc = write_archive(conf, out_fd, &archive, err);
    if (!rc)
        rc = adit_file_replace(out_fd, "initramfs", adit_buf_view(&archive), 0644, err);
    if (!rc)
        fprintf(stderr, "rootfs-builder: %s/initramfs: %zu KiB\n", conf->out,
                adit_buf_view(&archive).len / 1024);
    adit_buf_fini(&archive);
    return rc;
}

const struct builder_command initramfs_command = {
    .name = "initramfs",
    .usage = "rootfs-builder initramfs [OPTIONS]   put the agent and the modules into the guest's "
             "first root\n",
    .rows = rows,
    .run = run,
};
