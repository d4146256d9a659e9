/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images of a template.
 *
 * Theory of operation
 *
 * What:    the root is an erofs, which all machines of a template share: not compressed, so that
 * the host's page cache holds what they read once and ready; owners, times and extended attributes
 * as in the tree. Its own time is that of the newest file, so nothing in it depends on when it was
 * made. The overlay is an empty, sparse ext4 without a journal: a sandbox's disk does not outlive a
 * crash of its machine.
 * Failure: each file is made under another name, put to disk and renamed.
 */
#include "rootfs-builder/image.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "rootfs-builder/template_out.h"
#include "rootfs-builder/tool.h"

#define DIR_CAP 4000

static time_t newest;

static int note_time(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)type;
    (void)ftw;
    if (st->st_mtime > newest)
        newest = st->st_mtime;
    return 0;
}

bool image_is_complete(int dir_fd, uint64_t disk_mb)
{
    return faccessat(dir_fd, IMAGE_ROOT, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           (disk_mb == 0 || faccessat(dir_fd, IMAGE_OVERLAY, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
}

/* @from is whole: put it to disk and in place. */
static int put_in_place(const char *from, const char *to, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0644) != 0 || fsync(fd) != 0 || rename(from, to) != 0)
        return adit_err_sys(err, errno, "make %s", to);
    return 0;
}

static int make_root(const char *dir, const char *uuid, struct adit_err *err)
{
    char tree[DIR_CAP + 32], made[DIR_CAP + 32], path[DIR_CAP + 32], epoch[64];
    (void)snprintf(tree, sizeof(tree), "%s/root", dir);
    (void)snprintf(made, sizeof(made), "%s/." IMAGE_ROOT, dir);
    (void)snprintf(path, sizeof(path), "%s/" IMAGE_ROOT, dir);
    newest = 0;
    if (nftw(tree, note_time, 32, FTW_PHYS | FTW_MOUNT) != 0)
        return adit_err_sys(err, errno, "read %s", tree);
    (void)snprintf(epoch, sizeof(epoch), "SOURCE_DATE_EPOCH=%lld", (long long)newest);
    const char *const argv[] = {"mkfs.erofs", "--quiet", "--preserve-mtime", "-U", uuid, made,
                                tree,         NULL};
    (void)unlink(made); /* of a builder that was killed */
    int rc =
        tool_run(&(struct tool_call){.argv = argv, .package = "erofs-utils", .env = epoch}, err);
    return rc ? rc : put_in_place(made, path, err);
}

static int make_overlay(const char *dir, const char *uuid, uint64_t disk_mb, struct adit_err *err)
{
    char made[DIR_CAP + 32], path[DIR_CAP + 32];
    (void)snprintf(made, sizeof(made), "%s/." IMAGE_OVERLAY, dir);
    (void)snprintf(path, sizeof(path), "%s/" IMAGE_OVERLAY, dir);
    (void)unlink(made); /* of a builder that was killed */
    int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)(disk_mb << 20)) != 0 || close(fd) != 0)
        return adit_err_sys(err, errno, "make %s", made);
    const char *const argv[] = {
        "mkfs.ext4",          "-q", "-F", "-m", "0", "-U", uuid, "-O", "^has_journal", "-E",
        "lazy_itable_init=1", made, NULL};
    int rc = tool_run(&(struct tool_call){.argv = argv, .package = "e2fsprogs"}, err);
    return rc ? rc : put_in_place(made, path, err);
}

int image_make(const char *dir, const char *uuid, uint64_t disk_mb, struct adit_err *err)
{
    if (strlen(dir) > DIR_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "the name of the directory is too long");
    int rc = disk_mb > 0 ? make_overlay(dir, uuid, disk_mb, err) : 0;
    return rc ? rc : make_root(dir, uuid, err);
}

int image_complete(const char *dir, bool *is_made, struct adit_err *err)
{
    char uuid[40] = "";
    struct adit_buf text;
    *is_made = false;
    ADIT_CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", dir);
    adit_buf_init(&text, TEMPLATE_OUT_JSON_CAP);
    int rc = adit_file_read(fd, "template.json", &text, err);
    json_t *root = rc ? NULL : adit_json_load(adit_buf_view(&text), 0, NULL);
    const char *build_id = json_string_value(json_object_get(root, "build_id"));
    json_int_t disk_mb = json_integer_value(json_object_get(root, "disk_mb"));
    if (build_id)
        (void)snprintf(uuid, sizeof(uuid), "%s", build_id);
    if (!rc && (strlen(uuid) != 36 || disk_mb < 0 || disk_mb > BUILDER_DISK_MB_MAX))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s/template.json is not one", dir);
    json_decref(root);
    adit_buf_fini(&text);
    if (rc || image_is_complete(fd, (uint64_t)disk_mb))
        return rc;
    *is_made = true;
    return image_make(dir, uuid, (uint64_t)disk_mb, err);
}
