/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name services of the C library, which a static program has not.
 *
 * Theory of operation
 *
 * libuv refers to the resolver and to the password database for calls that envd never makes. In a
 * static glibc those references pull in the name service switch, its loader and its tables (some
 * 90 KiB) that could not work anyway: they load shared objects of the build machine's version.
 * These definitions take their place at link time. envd reads the guest's own passwd and group
 * files (base/user.h) and resolves no names by itself.
 *
 * Failure: each says that there is no such service.
 */
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stddef.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    (void)name;
    (void)service;
    (void)hints;
    (void)result;
    return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *list)
{
    (void)list;
}

int getnameinfo(const struct sockaddr *address, socklen_t address_len, char *host,
                socklen_t host_cap, char *service, socklen_t service_cap, int flags)
{
    (void)address;
    (void)address_len;
    (void)host;
    (void)host_cap;
    (void)service;
    (void)service_cap;
    (void)flags;
    return EAI_FAIL;
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *text, size_t text_cap, struct passwd **found)
{
    (void)uid;
    (void)entry;
    (void)text;
    (void)text_cap;
    *found = NULL;
    return ENOSYS;
}

int getgrgid_r(gid_t gid, struct group *entry, char *text, size_t text_cap, struct group **found)
{
    (void)gid;
    (void)entry;
    (void)text;
    (void)text_cap;
    *found = NULL;
    return ENOSYS;
}
