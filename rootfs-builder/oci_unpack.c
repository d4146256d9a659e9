/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking an image, as oci_image.h declares it.
 *
 * Theory of operation
 *
 * What:  umoci puts the layers over one another in a cell where nothing but the new root can be
 *        written. When it has succeeded, the cell's warden goes into that root and stays there for
 *        the rest: links in it lead nowhere else.
 * Result: set-user-id bits and file capabilities stay: they are for the sandbox's own ids. Devices
 *        have become empty files and trusted attributes are gone, as nobody in a cell can make
 * them. Users: a template names its user, so a number becomes the name that it has in the image;
 * one that has none stays a number, which the agent takes as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/user.h"
#include "rootfs-builder/oci_cell.h"
#include "rootfs-builder/oci_image.h"

#define IMAGE_PLACE "/image"
#define ROOT_PLACE "/rootfs"

/* What the last steps need. */
struct ask {
    const char *dir, *wanted;
};

/* ---- users ---- */

/* As the broker takes it from template.json. */
static bool is_user_name(struct adit_view v)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.-";
    for (size_t i = 0; i < v.len; i++)
        if (!memchr(allowed, v.ptr[i], sizeof(allowed) - 1))
            return false;
    return v.len && v.len < OCI_IMAGE_USER_CAP && v.ptr[0] != '-';
}

static int refuse_user(struct adit_view wanted, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image: there is no user '%.*s' in it",
                        ADIT_VIEW_ARG(wanted));
}

static int find_name(struct adit_view passwd, struct adit_view wanted, struct adit_err *err)
{
    static const struct adit_view nothing = {"", 0};
    struct user_entry entry;
    if (user_find(passwd, nothing, wanted, &entry) && !adit_view_eq_str(wanted, "root"))
        return refuse_user(wanted, err);
    return 0;
}

int oci_image_user(struct adit_view passwd, struct adit_view wanted, char user[OCI_IMAGE_USER_CAP],
                   struct adit_err *err)
{
    char name[USER_NAME_CAP];
    struct adit_view group, found;
    uint64_t uid;
    (void)adit_view_split(wanted, ':', &wanted, &group); /* groups are those of the image's files */
    if (wanted.len == 0)
        wanted = adit_view_str("root");
    found = wanted;
    if (adit_view_u64(wanted, OCI_CELL_ID_CNT - 1, &uid) == 0) {
        if (uid == 0)
            found = adit_view_str("root");
        else if (user_name_of_uid(passwd, (uint32_t)uid, name) == 0 &&
                 is_user_name(adit_view_str(name)))
            found = adit_view_str(name);
    } else {
        int rc = find_name(passwd, wanted, err);
        if (rc)
            return rc;
    }
    if (!is_user_name(found))
        return refuse_user(wanted, err);
    memcpy(user, found.ptr, found.len);
    user[found.len] = '\0';
    return 0;
}

/* ---- in the cell ---- */

static int find_user(const char *wanted, char user[OCI_IMAGE_USER_CAP], struct adit_err *err)
{
    struct adit_buf passwd;
    adit_buf_init(&passwd, USER_FILE_CAP);
    /* One that cannot be read is none, as it is to the agent. */
    (void)adit_file_read(AT_FDCWD, "/etc/passwd", &passwd, NULL);
    int rc = oci_image_user(adit_buf_view(&passwd), adit_view_str(wanted), user, err);
    adit_buf_fini(&passwd);
    return rc;
}

static int finish(void *arg, void *report, struct adit_err *err)
{
    const struct ask *ask = arg;
    if (chdir(ROOT_PLACE) || chroot("."))
        return adit_err_sys(err, errno, "enter the new root");
    int rc = ask->dir[0] ? adit_file_mkdirs(ask->dir, 0755, err) : 0;
    return rc ? rc : find_user(ask->wanted, report, err);
}

/* ---- outside ---- */

int oci_image_unpack(const struct builder_conf *conf, const char *work_dir, const char *dir,
                     const char *wanted, char user[OCI_IMAGE_USER_CAP], struct adit_err *err)
{
    static const char *const argv[] = {
        "umoci", "raw", "unpack", "--image=" IMAGE_PLACE "/layout:image", ROOT_PLACE, NULL};
    static const char *const env[] = {NULL};
    char image[4096], root[4096];
    struct ask ask = {dir, wanted};
    (void)snprintf(image, sizeof(image), "%s/oci", work_dir);
    (void)snprintf(root, sizeof(root), "%s/root", work_dir);
    if (mkdir(root, 0755))
        return adit_err_sys(err, errno, "make %s", root);
    struct oci_cell cell = {
        .argv = argv,
        .env = env,
        .binds = {{image, IMAGE_PLACE, false}, {root, ROOT_PLACE, true}},
        .bind_cnt = 2,
        .watched = ROOT_PLACE,
        .bytes_max = conf->size_max,
        .entries_max = conf->entries_max,
        .time_max_ms = conf->time_max_ms,
        .finish = finish,
        .arg = &ask,
        .report = user,
        .report_len = OCI_IMAGE_USER_CAP,
    };
    int rc = oci_cell_run(&cell, err);
    if (rc)
        return rc;
    user[OCI_IMAGE_USER_CAP - 1] = '\0';
    if (!is_user_name(adit_view_str(user)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image: no user");
    return 0;
}
