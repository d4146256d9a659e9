/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock-device: the vsock of one virtual machine.
 *
 * Theory of operation
 *
 * What:    takes two sockets, the VMM's and the one on which clients come in, gives up what it does
 * not need, and serves until the VMM leaves. They are inherited (--vhost-fd, --listen-fd), or made
 * under two paths for who starts it by hand; it then waits for the VMM to connect.
 * Failure: one line on stderr and an exit status: 0 when the VMM left, EX_PROTOCOL (76) when the
 * VMM or its guest broke the protocol, else the error's (rpc/status.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"
#include "rpc/status.h"
#include "vsock-device/device.h"
#include "vsock-device/device_profile.h"

/* Clients that wait to be accepted. */
#define BACKLOG 1024
/* 0, 1 and 2 are no guest's; all ones is nobody. */
#define CID_MIN 3
#define CID_MAX (UINT32_MAX - 1)

struct main_conf {
    uint64_t vhost_fd, listen_fd, guest_cid;
    char *vhost_socket, *socket, *seccomp, *log_level;
    bool log_json;
};

#define ROW_FIELD(field) offsetof(struct main_conf, field)

static const struct adit_conf_row rows[] = {
    {"vhost-fd", ADIT_CONF_UINT, ROW_FIELD(vhost_fd), "0", 0, 65535,
     "inherited socket that is connected to the VMM; 0: none"},
    {"listen-fd", ADIT_CONF_UINT, ROW_FIELD(listen_fd), "0", 0, 65535,
     "inherited listening Unix socket on which clients come in; 0: none"},
    {"vhost-socket", ADIT_CONF_STRING, ROW_FIELD(vhost_socket), "", 0, 107,
     "make a Unix socket of this path and wait for the VMM there"},
    {"socket", ADIT_CONF_STRING, ROW_FIELD(socket), "", 0, 107,
     "make a Unix socket of this path for clients"},
    {"guest-cid", ADIT_CONF_UINT, ROW_FIELD(guest_cid), "3", CID_MIN, CID_MAX, "the guest's CID"},
    {"seccomp", ADIT_CONF_STRING, ROW_FIELD(seccomp), "enforce", 1, 7,
     "enforce, log or off: what happens when it makes a system call that it should not"},
    {"log-level", ADIT_CONF_STRING, ROW_FIELD(log_level), "info", 1, 5,
     "debug, info, warn or error"},
    {"log-json", ADIT_CONF_BOOL, ROW_FIELD(log_json), "false", 0, 0,
     "write log lines as JSON objects"},
    {0},
};

/* No default file: what starts it says all by flags, and its root is empty. */
static const struct adit_conf_spec spec = {
    .program = "vsock-device",
    .usage = "vsock-device --vhost-fd N --listen-fd N --guest-cid N\n"
             "vsock-device --vhost-socket PATH --socket PATH --guest-cid N",
    .env_prefix = "ADIT_VSOCK_DEVICE",
    .rows = rows,
};

/* A socket that nobody answers on is left from an earlier run. */
static void remove_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
        errno == ECONNREFUSED)
        (void)unlink(address->sun_path); /* bind says what is wrong */
    if (fd >= 0)
        (void)close(fd);
}

static int listen_at(const char *path, int *out, struct adit_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path); /* the row's maximum */
    remove_stale(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
        listen(fd, BACKLOG)) {
        int rc = adit_err_sys(err, errno, "%s", path);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

static int inherit(const char *name, uint64_t fd, int *out, struct adit_err *err)
{
    *out = (int)fd;
    return fcntl(*out, F_SETFD, FD_CLOEXEC) ? adit_err_sys(err, errno, "%s", name) : 0;
}

static int await_vmm(int listen_fd, int *out, struct adit_err *err)
{
    *out = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int rc = *out < 0 ? adit_err_sys(err, errno, "wait for the VMM") : 0;
    (void)close(listen_fd); /* there is one VMM */
    return rc;
}

static int open_sockets(const struct main_conf *c, int *vhost_fd, int *listen_fd,
                        struct adit_err *err)
{
    int rc = c->listen_fd ? inherit("listen-fd", c->listen_fd, listen_fd, err)
                          : listen_at(c->socket, listen_fd, err);
    if (rc == 0 && fcntl(*listen_fd, F_SETFL, O_RDWR | O_NONBLOCK))
        rc = adit_err_sys(err, errno, "listen-fd");
    if (rc)
        return rc;
    if (c->vhost_fd)
        return inherit("vhost-fd", c->vhost_fd, vhost_fd, err);
    rc = listen_at(c->vhost_socket, vhost_fd, err);
    return rc ? rc : await_vmm(*vhost_fd, vhost_fd, err);
}

static int serve(const struct main_conf *c, struct adit_err *err)
{
    int vhost_fd, listen_fd;
    uint32_t seed;
    struct device *device = NULL;
    int rc = open_sockets(c, &vhost_fd, &listen_fd, err);
    if (rc)
        return rc;
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return adit_err_sys(err, errno, "get a seed");
    rc = device_new(vhost_fd, listen_fd, c->guest_cid, seed, &device, err);
    if (rc == 0)
        rc = device_profile_enter(c->seccomp, !c->vhost_fd, err);
    if (rc == 0)
        rc = device_run(device, err);
    device_free(device);
    return rc;
}

static int check(const struct main_conf *c, struct adit_err *err)
{
    enum adit_log_level level;
    if ((c->vhost_fd != 0) == (c->vhost_socket[0] != '\0'))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "one of vhost-fd and vhost-socket is needed");
    if ((c->listen_fd != 0) == (c->socket[0] != '\0'))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "one of listen-fd and socket is needed");
    if (adit_log_level_parse(c->log_level, &level))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "log-level: '%s' is no level", c->log_level);
    adit_log_init("vsock-device", level, c->log_json);
    return 0;
}

static int report(const struct adit_err *err)
{
    adit_log(ADIT_LOG_ERROR, "ended", LOG_ERR(err));
    return rpc_status_exit(err->code);
}

int main(int argc, char **argv)
{
    struct main_conf conf;
    struct adit_err err = ADIT_ERR_INIT;
    int rest = 0, info = 0;

    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail */
    (void)signal(SIGXFSZ, SIG_IGN); /* a log that is a file takes nothing: no reason to end */
    adit_log_init("vsock-device", ADIT_LOG_INFO, false);
    if (adit_conf_load(&spec, argc, argv, &conf, &rest, &info, &err))
        return report(&err);
    if (info) {
        adit_conf_inform(&spec, info, ADIT_VERSION);
        return EXIT_SUCCESS;
    }
    int rc = rest < argc
                 ? adit_err_set(&err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", argv[rest])
                 : check(&conf, &err);
    if (rc == 0)
        rc = serve(&conf, &err);
    adit_conf_fini(&spec, &conf);
    return rc ? report(&err) : EXIT_SUCCESS;
}
