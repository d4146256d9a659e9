/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until a QEMU that was started takes orders.
 *
 * Theory of operation
 *
 * What:    QEMU greets whoever connects to its QMP socket from a thread of its own, long before the
 *          machine is made; it answers a command from its main loop, afterwards. So the first
 *          command that every client sends (qmp_capabilities) is sent and its answer waited for.
 * The next client, the broker, begins anew. Trust:   the socket's name is in the broker's
 * directory: it is held without following a link, and must be a socket of the broker's. The answer
 * may be anybody's then: it only says that waiting is over.
 */
#include "broker/launcher/qemu_ready.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define HELLO "{\"execute\":\"qmp_capabilities\"}\n"
#define ANSWER "{\"return\""
/* A greeting and an answer; events may be between. */
#define ANSWER_CAP 8192

static int connect_to(int dir_fd, const char *name, uid_t owner, int *out, struct adit_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    ADIT_CLEANUP_CLOSE int place = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    ADIT_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (place < 0 || fd < 0 || fstat(place, &st))
        return adit_err_sys(err, errno, "open %s", name);
    if (!S_ISSOCK(st.st_mode) || st.st_uid != owner)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is not the socket that it was", name);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", place);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return errno == ECONNREFUSED ? adit_err_set(err, ADIT_ERR_CLOSED, "%s closed", name)
                                     : adit_err_sys(err, errno, "connect to %s", name);
    *out = adit_steal_fd(&fd);
    return 0;
}

int qemu_ready_wait(int dir_fd, const char *name, uid_t owner, unsigned wait_ms,
                    struct adit_err *err)
{
    char answer[ANSWER_CAP];
    size_t len = 0;
    uint64_t deadline_ns = adit_clock_mono_ns() + wait_ms * UINT64_C(1000000);
    ADIT_CLEANUP_CLOSE int fd = -1;
    int rc = connect_to(dir_fd, name, owner, &fd, err);
    if (rc == 0 && send(fd, HELLO, strlen(HELLO), MSG_NOSIGNAL) != (ssize_t)strlen(HELLO))
        rc = adit_err_sys(err, errno, "write to %s", name);
    while (rc == 0 && !memmem(answer, len, ANSWER, strlen(ANSWER))) {
        struct pollfd ready = {fd, POLLIN, 0};
        uint64_t now = adit_clock_mono_ns();
        int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000) + 1 : 0;
        if (poll(&ready, 1, left_ms) != 1)
            return adit_err_set(err, ADIT_ERR_TIMEOUT, "no answer within %u ms", wait_ms);
        ssize_t n = recv(fd, answer + len, sizeof(answer) - len, 0);
        if (n <= 0)
            return adit_err_set(err, ADIT_ERR_CLOSED, "%s closed", name);
        len += (size_t)n;
    }
    return rc;
}
