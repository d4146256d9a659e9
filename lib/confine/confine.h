/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process gives up what it does not need.
 *
 * Everything here is for a process that is root, has one thread and has opened what only root may
 * open. See confine.c for the order and what each step is worth.
 */
#ifndef ADIT_CONFINE_CONFINE_H
#define ADIT_CONFINE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* A sanitizer reads /proc/self to make its report, and looks at all memory for leaks. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_IS_SANITIZED 1
#endif
#endif
#ifndef CONFINE_IS_SANITIZED
#define CONFINE_IS_SANITIZED 0
#endif

/* Who the programs become where nothing else is configured: the account if there is one, else the
 * number. Numbers of this range belong to nobody by convention. */
#define CONFINE_BROKER_ACCOUNT "adit-broker"
#define CONFINE_BROKER_UID 61180
#define CONFINE_SCHEDULER_ACCOUNT "adit-scheduler"
#define CONFINE_SCHEDULER_UID 61181

struct confine_user {
    uid_t uid;
    gid_t gid;
};

/*
 * @path:        absolute, exists; a directory or a file, seen under the same path afterwards
 * @is_writable: else read-only
 * @has_programs: what is in it can be executed
 * @has_devices: device nodes in it are devices
 */
struct confine_mount {
    const char *path;
    bool is_writable, has_programs, has_devices;
};

/* What /proc says of the process itself, as a mount: its memory and descriptors for figures. */
#define CONFINE_OWN_PROCESS "/proc/self"

enum confine_mode { CONFINE_ENFORCE, CONFINE_LOG, CONFINE_OFF };

/*
 * @user:     who the process becomes; without supplementary groups
 * @mounts:   all that is left of the file system; what lies below another one comes after it
 * @calls:    names of the system calls it may make, NULL-terminated; threads are added
 * @families: of the sockets it may make
 * @connect_port: the one TCP port it may connect to; 0: none
 * @connects_anywhere: it may connect to every TCP port
 */
struct confine_profile {
    struct confine_user user;
    const struct confine_mount *mounts;
    size_t mount_cnt;
    enum confine_mode mode;
    const char *const *calls;
    const int *families;
    size_t family_cnt;
    uint16_t connect_port;
    bool connects_anywhere;
};

/*
 * Who a program runs as. @wanted: a name or a number; "": the account @account if there is one,
 * else the number @fallback. Errors: NOT_FOUND, BAD_INPUT (root is nobody to become).
 */
ADIT_MUST_CHECK int confine_user_find(const char *wanted, const char *account, uid_t fallback,
                                      struct confine_user *out, struct adit_err *err);

/*
 * Enter the profile for good. On failure the process is in a state between: it must end.
 * Errors: what failed, as IO, NOT_FOUND or DENIED.
 */
ADIT_MUST_CHECK int confine_enter(const struct confine_profile *p, struct adit_err *err);

/*
 * For processes that stay root: keep only the capabilities of @mask (bits by number) and never get
 * another one, also by exec. Those the process does not have are left out.
 */
ADIT_MUST_CHECK int confine_keep_caps(uint64_t mask, struct adit_err *err);
/*
 * Become @user for good: without supplementary groups, without a capability, without a way to gain
 * one by executing a file, and without core files. Errors: DENIED, IO.
 */
ADIT_MUST_CHECK int confine_become(const struct confine_user *user, struct adit_err *err);

/* Make every permitted capability effective, as it is not after a change of the effective user. */
ADIT_MUST_CHECK int confine_raise_caps(struct adit_err *err);

/* No core file, and nobody without privileges may look into the process's memory. */
ADIT_MUST_CHECK int confine_hide_memory(struct adit_err *err);

/* ---- parts of the above, one file each ---- */

/* An empty read-only root with nothing but @mounts in it (confine_root.c). */
ADIT_MUST_CHECK int confine_root(const struct confine_mount *mounts, size_t cnt,
                                 struct adit_err *err);

/* No file but those of the mounts, no TCP port but the one (confine_landlock.c). */
ADIT_MUST_CHECK int confine_landlock(const struct confine_profile *p, struct adit_err *err);
/* No system call but those of the list (confine_filter.c). The last step. */
ADIT_MUST_CHECK int confine_filter(const struct confine_profile *p, struct adit_err *err);
/*
 * For processes that stay root and start programs: calls that change the kernel or reach past every
 * namespace fail with EPERM, sockets of families such as AF_VSOCK with EAFNOSUPPORT, also in what
 * is executed. Takes CAP_SYS_ADMIN, since no_new_privs is left alone. Errors: NO_MEMORY, IO,
 * DENIED.
 */
ADIT_MUST_CHECK int confine_deny_kernel(struct adit_err *err);
/* No symlink can be made any more, also by what is executed: for who writes to a directory in which
 * others trust names. Sets no_new_privs. Errors: NO_MEMORY, IO. */
ADIT_MUST_CHECK int confine_deny_symlinks(struct adit_err *err);
/* What confine_deny_kernel() denies, NULL-terminated. */
extern const char *const confine_denied_calls[];
/*
 * A user namespace in which the ids 0 to @cnt - 1 are @base and up outside, as a descriptor; nobody
 * is in it (confine_userns.c). Errors: IO, DENIED, LIMIT.
 */
ADIT_MUST_CHECK int confine_userns(uint32_t base, uint32_t cnt, int *out, struct adit_err *err);
/* "enforce", "log" or "off". Errors: BAD_INPUT. */
ADIT_MUST_CHECK int confine_mode_parse(const char *text, enum confine_mode *mode,
                                       struct adit_err *err);

/* How deep confine_give_tree() goes; what lies deeper keeps its owner. */
#define CONFINE_GIVE_DEPTH 4
/*
 * Files of earlier versions or of another user become @user's: everything below the directory
 * @dir_fd, but no entry with a name of @skip (NULL-terminated), no symlink, nothing on another file
 * system, no file with more than one name. The directory itself keeps its owner. Errors: IO.
 */
ADIT_MUST_CHECK int confine_give_tree(int dir_fd, const char *const *skip,
                                      const struct confine_user *user, struct adit_err *err);

#endif
