/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's passwd and group files, held in memory. */
/*
 * Theory of operation
 *
 * A refresh costs two stat(2) calls while nothing changed. A file counts as changed when its
 * device, inode, size or one of its times differs from what it was when it was read; the stat comes
 * before the read, so a change in between is seen by the next refresh at the latest.
 *
 * Trust: the files belong to the guest; base/user.h says how lines are judged. A file above
 * USER_FILE_CAP, or one that cannot be read, is taken as empty.
 */
#include "envd/user_files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"

static void forget(struct user_file *file)
{
    adit_buf_fini(&file->content);
    memset(file, 0, sizeof *file);
}

void user_files_fini(struct user_files *f)
{
    forget(&f->passwd);
    forget(&f->group);
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_unchanged(const struct user_file *file, const struct stat *st)
{
    return file->dev == st->st_dev && file->ino == st->st_ino && file->size == st->st_size &&
           is_same_time(file->mtime, st->st_mtim) && is_same_time(file->ctime, st->st_ctim);
}

/* Return: true when the content is another one now. */
static bool refresh(struct user_file *file, const char *etc, const char *name)
{
    struct stat st;
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", etc ? etc : "/etc", name);

    if (len < 0 || (size_t)len >= sizeof path || stat(path, &st) || !S_ISREG(st.st_mode)) {
        bool had_one = file->ino != 0;
        forget(file);
        return had_one;
    }
    if (is_unchanged(file, &st))
        return false;
    forget(file);
    adit_buf_init(&file->content, USER_FILE_CAP);
    if (adit_file_read(AT_FDCWD, path, &file->content, NULL))
        adit_buf_clear(&file->content);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    file->size = st.st_size;
    file->mtime = st.st_mtim;
    file->ctime = st.st_ctim;
    return true;
}

void user_files_refresh(struct user_files *f)
{
    if (refresh(&f->passwd, f->etc, "passwd"))
        memset(f->users, 0, sizeof f->users);
    if (refresh(&f->group, f->etc, "group"))
        memset(f->groups, 0, sizeof f->groups);
}

/* A number for a user that no line names: nobody's in any group but root's, as containers have it.
 */
static int find_number(struct adit_view passwd, struct adit_view group, struct adit_view name,
                       struct user_entry *out)
{
    uint64_t uid;
    char known[USER_NAME_CAP];
    if (adit_view_u64(name, UINT32_MAX - 1, &uid))
        return ADIT_ERR_NOT_FOUND;
    if (user_name_of_uid(passwd, (uint32_t)uid, known) == 0 &&
        user_find(passwd, group, adit_view_str(known), out) == 0 && out->uid == uid)
        return 0;
    *out = (struct user_entry){.uid = (uint32_t)uid, .home = "/", .shell = "/bin/sh"};
    memcpy(out->name, name.ptr, name.len); /* at most ten digits */
    return 0;
}

int user_files_find(const struct user_files *f, struct adit_view name, struct user_entry *out)
{
    static const struct adit_view bare_passwd = ADIT_VIEW("root:x:0:0::/:/bin/sh\n");
    struct adit_view passwd = adit_buf_view(&f->passwd.content);

    if (f->passwd.ino == 0)
        passwd = bare_passwd;
    int rc = user_find(passwd, adit_buf_view(&f->group.content), name, out);
    if (rc == ADIT_ERR_NOT_FOUND)
        rc = find_number(passwd, adit_buf_view(&f->group.content), name, out);
    return rc;
}

static const char *name_of(struct user_files_name *names, struct adit_view content, uint32_t id,
                           int (*find)(struct adit_view, uint32_t, char[USER_NAME_CAP]))
{
    struct user_files_name *slot = &names[id % USER_FILES_NAMES];

    if (slot->is_known && slot->id == id)
        return slot->name;
    if (find(content, id, slot->name))
        (void)snprintf(slot->name, sizeof slot->name, "%u", id); /* ten digits fit */
    slot->id = id;
    slot->is_known = true;
    return slot->name;
}

const char *user_files_user_name(struct user_files *f, uint32_t uid)
{
    return name_of(f->users, adit_buf_view(&f->passwd.content), uid, user_name_of_uid);
}

const char *user_files_group_name(struct user_files *f, uint32_t gid)
{
    return name_of(f->groups, adit_buf_view(&f->group.content), gid, user_name_of_gid);
}
