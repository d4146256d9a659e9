/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups from passwd(5) and group(5) files. */
/*
 * Theory of operation
 *
 * What     One walk over the lines of a file, one splitter into fields; look-ups compare and copy.
 *          Each line is judged alone: one that is malformed in any field we use is as if it were
 * not there, and the first good one that matches wins. Trust    The files belong to the guest. No
 * number is taken in a second spelling ("0x0", "00", " 0", 4294967295), no name with a control
 * character, none that is a NIS entry ("+", "-"). Limits   Those of user.h. Groups beyond
 * USER_GROUPS_MAX are not reported. Failure  NOT_FOUND and BAD_INPUT only; nothing allocates.
 */
#include "base/user.h"

#define UID_MAX UINT64_C(4294967294) /* (uid_t)-1 means "no user" to the kernel */

enum {
    PASSWD_NAME,
    PASSWD_PASSWORD,
    PASSWD_UID,
    PASSWD_GID,
    PASSWD_GECOS,
    PASSWD_HOME,
    PASSWD_SHELL,
    PASSWD_FIELD_CNT
};
enum { GROUP_NAME, GROUP_PASSWORD, GROUP_GID, GROUP_MEMBERS, GROUP_FIELD_CNT };

static bool has_control(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if (c < 0x20 || c == 0x7F)
            return true;
    }
    return false;
}

static bool is_name(struct adit_view v)
{
    return v.len > 0 && v.len < USER_NAME_CAP && v.ptr[0] != '+' && v.ptr[0] != '-' &&
           v.ptr[0] != '#' && !has_control(v);
}

/* Cut the next line off @rest and split it at the first colons; the last field takes what is left.
 * Return: false at the end of the file. Overlong and short lines are skipped. */
static bool next_line(struct adit_view *rest, struct adit_view *fields, size_t field_cnt)
{
    while (rest->len) {
        struct adit_view line;
        (void)adit_view_split(*rest, '\n', &line, rest); /* the last line may lack its end */
        if (line.len > USER_LINE_CAP)
            continue;
        size_t n = 0;
        while (n + 1 < field_cnt && adit_view_split(line, ':', &fields[n], &line))
            n++;
        fields[n] = line;
        if (n + 1 == field_cnt && is_name(fields[0]))
            return true;
    }
    return false;
}

static bool take_id(struct adit_view v, uint32_t *id)
{
    uint64_t n;
    if (adit_view_u64(v, UID_MAX, &n))
        return false;
    *id = (uint32_t)n;
    return true;
}

/* Copy with a NUL; @fallback (of passwd(5) and login(1)) stands for an empty field. */
static bool take_text(struct adit_view v, const char *fallback, char *out, size_t cap)
{
    if (v.len == 0)
        v = adit_view_str(fallback);
    if (v.len >= cap || has_control(v))
        return false;
    memcpy(out, v.ptr, v.len);
    out[v.len] = '\0';
    return true;
}

static bool take_user(const struct adit_view *fields, struct user_entry *out)
{
    return take_id(fields[PASSWD_UID], &out->uid) && take_id(fields[PASSWD_GID], &out->gid) &&
           take_text(fields[PASSWD_NAME], "", out->name, sizeof out->name) &&
           take_text(fields[PASSWD_HOME], "/", out->home, sizeof out->home) &&
           take_text(fields[PASSWD_SHELL], "/bin/sh", out->shell, sizeof out->shell);
}

static bool is_member(struct adit_view members, struct adit_view name)
{
    while (members.len) {
        struct adit_view member;
        (void)adit_view_split(members, ',', &member, &members); /* the last one has no comma */
        if (adit_view_eq(member, name))
            return true;
    }
    return false;
}

static bool has_group(const struct user_entry *user, uint32_t gid)
{
    for (size_t i = 0; i < user->group_cnt; i++) {
        if (user->groups[i] == gid)
            return true;
    }
    return gid == user->gid;
}

static void find_groups(struct adit_view group, struct user_entry *user)
{
    struct adit_view fields[GROUP_FIELD_CNT], name = adit_view_str(user->name);
    uint32_t gid;

    user->group_cnt = 0;
    while (user->group_cnt < USER_GROUPS_MAX && next_line(&group, fields, GROUP_FIELD_CNT)) {
        if (is_member(fields[GROUP_MEMBERS], name) && take_id(fields[GROUP_GID], &gid) &&
            !has_group(user, gid))
            user->groups[user->group_cnt++] = gid;
    }
}

int user_find(struct adit_view passwd, struct adit_view group, struct adit_view name,
              struct user_entry *out)
{
    struct adit_view fields[PASSWD_FIELD_CNT];

    if (!is_name(name) || memchr(name.ptr, ':', name.len))
        return ADIT_ERR_BAD_INPUT;
    while (next_line(&passwd, fields, PASSWD_FIELD_CNT)) {
        if (adit_view_eq(fields[PASSWD_NAME], name) && take_user(fields, out)) {
            find_groups(group, out);
            return 0;
        }
    }
    return ADIT_ERR_NOT_FOUND;
}

/* passwd(5) and group(5) both have the name first and the number third. */
static int name_of_id(struct adit_view file, size_t field_cnt, uint32_t id, char out[USER_NAME_CAP])
{
    struct adit_view fields[PASSWD_FIELD_CNT];
    uint32_t line_id;

    while (next_line(&file, fields, field_cnt)) {
        if (take_id(fields[PASSWD_UID], &line_id) && line_id == id &&
            take_text(fields[PASSWD_NAME], "", out, USER_NAME_CAP))
            return 0;
    }
    return ADIT_ERR_NOT_FOUND;
}

int user_name_of_uid(struct adit_view passwd, uint32_t uid, char out[USER_NAME_CAP])
{
    return name_of_id(passwd, PASSWD_FIELD_CNT, uid, out);
}

int user_name_of_gid(struct adit_view group, uint32_t gid, char out[USER_NAME_CAP])
{
    return name_of_id(group, GROUP_FIELD_CNT, gid, out);
}
