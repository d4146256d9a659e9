/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: what the mounts allow, said a second time, and what no mount can say.
 *
 * Theory of operation
 *
 * What: files can be opened below the profile's mounts only, to read or to read and write, never to
 * execute, never as devices; folders can be listed; TCP sockets are neither bound nor connected but
 * to the profile's port, unless it says that they may be connected to any; abstract sockets and
 * signals end at this process. The kernel says which version it knows: what it does not know is
 * left out, since the other measures stand without it. The numbers of later versions are defined
 * here, as headers may be older than the kernel. Failure: a kernel without Landlock is fine, one
 * that refuses a rule is not.
 */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* From version 3, 4, 5 and 6 of the interface. */
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_BIND_TCP (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)
#define RULE_NET_PORT 2

#define FS_ALL_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                   \
    (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                     \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
/* What a rule about a file that is no directory may hold. */
#define FS_OF_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct port_attr {
    uint64_t access, port;
};

static struct ruleset_attr handled(long version, size_t *size)
{
    struct ruleset_attr a = {.fs = FS_ALL_V1};
    *size = sizeof(a.fs);
    if (version < 2)
        a.fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        a.fs |= FS_TRUNCATE;
    if (version >= 4) {
        a.net = NET_BIND_TCP | NET_CONNECT_TCP;
        *size = offsetof(struct ruleset_attr, scoped);
    }
    if (version >= 5)
        a.fs |= FS_IOCTL_DEV;
    if (version >= 6) {
        a.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        *size = sizeof(a);
    }
    return a;
}

static int allow_path(int ruleset, const struct confine_mount *m, uint64_t known,
                      struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open(m->path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "open %s", m->path);
    struct landlock_path_beneath_attr rule = {
        .allowed_access = known & (m->is_writable ? FS_WRITE : FS_READ) &
                          (S_ISDIR(st.st_mode) ? ~UINT64_C(0) : FS_OF_FILE),
        .parent_fd = fd,
    };
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
        return adit_err_sys(err, errno, "Landlock rule for %s", m->path);
    return 0;
}

/* The root holds nothing but the mounts. libuv keeps it open as a spare descriptor, and where it
 * can not, tries with every stream anew. */
static int allow_root(int ruleset, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = open("/", O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_READ_DIR,
                                              .parent_fd = fd};
    if (fd < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
        return adit_err_sys(err, errno, "Landlock rule for the root");
    return 0;
}

static int allow_port(int ruleset, uint16_t port, struct adit_err *err)
{
    struct port_attr rule = {NET_CONNECT_TCP, port};
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0))
        return adit_err_sys(err, errno, "Landlock rule for port %u", port);
    return 0;
}

int confine_landlock(const struct confine_profile *p, struct adit_err *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    size_t size = 0;
    int rc = 0;
    if (version < 1)
        return 0;
    struct ruleset_attr all = handled(version, &size);
    if (p->connects_anywhere)
        all.net &= ~NET_CONNECT_TCP;
    ADIT_CLEANUP_CLOSE int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (ruleset < 0)
        return adit_err_sys(err, errno, "make a Landlock ruleset");
    rc = allow_root(ruleset, err);
    for (size_t i = 0; rc == 0 && i < p->mount_cnt; i++)
        rc = allow_path(ruleset, &p->mounts[i], all.fs, err);
    if (rc == 0 && p->connect_port && (all.net & NET_CONNECT_TCP))
        rc = allow_port(ruleset, p->connect_port, err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0))
        rc = adit_err_sys(err, errno, "enter the Landlock ruleset");
    return rc;
}
