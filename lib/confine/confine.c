/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process gives up its privileges.
 *
 * Theory of operation
 *
 * What: confine_enter() takes the steps in the only order that works, each of which also stands for
 * itself when another one should fail to hold:
 *
 *   mount, ipc and uts namespaces → an empty root → no capability that could be regained → groups,
 *   gid, uid → no capability at all → no new privileges by exec → Landlock → system call filter
 *
 * Trust: the process reads bytes of strangers afterwards, never before. Failure: any error leaves a
 * process that is neither one nor the other; its caller ends it. A sanitizer build stays open to
 * its own report (it reads /proc/self and starts a symbolizer), so it is no measure of this module.
 */
#include "confine/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/view.h"

/* ---- who ---- */

static int check_user(const char *wanted, uid_t uid, gid_t gid, struct confine_user *out,
                      struct adit_err *err)
{
    if (uid == 0 || gid == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "user: %s is root", wanted);
    *out = (struct confine_user){uid, gid};
    return 0;
}

int confine_user_find(const char *wanted, const char *account, uid_t fallback,
                      struct confine_user *out, struct adit_err *err)
{
    uint64_t number = fallback;
    const struct passwd *entry = getpwnam(wanted[0] ? wanted : account);
    if (entry)
        return check_user(entry->pw_name, entry->pw_uid, entry->pw_gid, out, err);
    if (wanted[0] && adit_view_u64(adit_view_str(wanted), INT32_MAX, &number))
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "user: there is no account %s", wanted);
    entry = getpwuid((uid_t)number);
    return check_user(wanted, (uid_t)number, entry ? entry->pw_gid : (gid_t)number, out, err);
}

/* ---- capabilities ---- */

static int set_caps(uint64_t mask, struct adit_err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)mask, .permitted = (uint32_t)mask},
        {.effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32)},
    };
    if (syscall(SYS_capset, &head, data))
        return adit_err_sys(err, errno, "set capabilities");
    return 0;
}

static int get_caps(uint64_t *permitted, struct adit_err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &head, data))
        return adit_err_sys(err, errno, "read capabilities");
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}

/* The kernel ends the list with EINVAL; it may be longer than the one known here. */
static int drop_bounding(uint64_t keep, struct adit_err *err)
{
    for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
            return adit_err_sys(err, errno, "drop capability %lu", cap);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
        return adit_err_sys(err, errno, "drop ambient capabilities");
    return 0;
}

int confine_keep_caps(uint64_t mask, struct adit_err *err)
{
    uint64_t permitted = 0;
    int rc = get_caps(&permitted, err);
    if (rc == 0)
        rc = drop_bounding(mask, err);
    return rc ? rc : set_caps(mask & permitted, err);
}

int confine_raise_caps(struct adit_err *err)
{
    uint64_t permitted = 0;
    int rc = get_caps(&permitted, err);
    return rc ? rc : set_caps(permitted, err);
}

/* ---- identity ---- */

static int become(const struct confine_user *u, struct adit_err *err)
{
    if (setgroups(0, NULL) || setresgid(u->gid, u->gid, u->gid) ||
        setresuid(u->uid, u->uid, u->uid))
        return adit_err_sys(err, errno, "become user %u", u->uid);
    return 0;
}

int confine_become(const struct confine_user *user, struct adit_err *err)
{
    int rc = become(user, err);
    if (rc == 0)
        rc = set_caps(0, err);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        rc = adit_err_sys(err, errno, "give up new privileges");
    return rc ? rc : confine_hide_memory(err); /* a change of user resets it */
}

int confine_enter(const struct confine_profile *p, struct adit_err *err)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS))
        return adit_err_sys(err, errno, "make namespaces");
    int rc = confine_root(p->mounts, p->mount_cnt, err);
    if (rc == 0)
        rc = drop_bounding(0, err);
    if (rc == 0)
        rc = confine_become(&p->user, err);
    if (rc == 0 && !CONFINE_IS_SANITIZED)
        rc = confine_landlock(p, err);
    return rc ? rc : confine_filter(p, err);
}
