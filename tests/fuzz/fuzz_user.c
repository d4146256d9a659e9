/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passwd(5), group(5) and the name looked for. Input: name, NUL, passwd, NUL, group.
 * Oracles: what is found keeps every promise of user.h, and written as a line it is found again.
 */
#include "oracle.h"

#include "base/user.h"

static void check_entry(const struct user_entry *u, struct adit_view name)
{
    ORACLE(adit_view_eq_str(name, u->name));
    ORACLE(u->uid != UINT32_MAX && u->gid != UINT32_MAX);
    ORACLE(u->home[0] && strlen(u->home) < USER_HOME_CAP);
    ORACLE(u->shell[0] && strlen(u->shell) < USER_HOME_CAP);
    ORACLE(u->group_cnt <= USER_GROUPS_MAX);
    for (size_t i = 0; i < u->group_cnt; i++) {
        ORACLE(u->groups[i] != u->gid && u->groups[i] != UINT32_MAX);
        ORACLE(i == 0 || u->groups[i] != u->groups[i - 1]);
    }
}

static void check_round_trip(const struct user_entry *u)
{
    static struct user_entry again;
    char line[USER_LINE_CAP + 1];
    int len = snprintf(line, sizeof line, "%s:x:%u:%u::%s:%s\n", u->name, u->uid, u->gid, u->home,
                       u->shell);
    ORACLE(len > 0 && (size_t)len < sizeof line);
    ORACLE(user_find(adit_view_mem(line, (size_t)len), adit_view_str(""), adit_view_str(u->name),
                     &again) == 0);
    ORACLE(again.uid == u->uid && again.gid == u->gid && again.group_cnt == 0);
    ORACLE(strcmp(again.home, u->home) == 0 && strcmp(again.shell, u->shell) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct user_entry u;
    char id_name[USER_NAME_CAP];
    struct adit_view name, passwd, group;

    (void)adit_view_split(adit_view_mem(data, size), '\0', &name, &passwd);
    (void)adit_view_split(passwd, '\0', &passwd, &group);
    int rc = user_find(passwd, group, name, &u);
    ORACLE(rc == 0 || rc == ADIT_ERR_NOT_FOUND || rc == ADIT_ERR_BAD_INPUT);
    if (rc == 0) {
        check_entry(&u, name);
        check_round_trip(&u);
        ORACLE(user_name_of_uid(passwd, u.uid, id_name) == 0);
        for (size_t i = 0; i < u.group_cnt; i++)
            ORACLE(user_name_of_gid(group, u.groups[i], id_name) == 0);
    }
    ORACLE(user_name_of_uid(passwd, UINT32_MAX, id_name) == ADIT_ERR_NOT_FOUND);
    return 0;
}
