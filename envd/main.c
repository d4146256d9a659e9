/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envd: the agent inside a sandbox.
 *
 * Theory of operation
 *
 * What:    reads the configuration, sets up the one loop and what lives on it, and runs until it is
 * told to stop. All work is in the modules: server (channels), routes (HTTP), process/ and
 * filesystem/ (RPC), state (what /init sets), init (PID 1). Ownership: struct envd is static, since
 * it lives as long as the program. Failure: what is missing at start ends the program with one line
 * on stderr and an exit status from rpc/status.c; later nothing does.
 */
#include "envd/envd.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"
#include "envd/init.h"
#include "envd/process/process_table.h"
#include "envd/server.h"
#include "envd/state.h"
#include "envd/vm.h"
#include "rpc/status.h"

struct main_conf {
    uint64_t channel_fd;
    bool vsock, vm, probe, log_json, fsync_uploads;
    char *log_level, *hostname;
};

static const struct adit_conf_row rows[] = {
    {"channel-fd", ADIT_CONF_UINT, offsetof(struct main_conf, channel_fd), "0", 0, 65535,
     "inherited listening Unix socket on which channels come in; 0: none"},
    {"vsock", ADIT_CONF_BOOL, offsetof(struct main_conf, vsock), "false", 0, 0,
     "listen on AF_VSOCK, for the host only"},
    {"vm", ADIT_CONF_BOOL, offsetof(struct main_conf, vm), "false", 0, 0,
     "be the first process of a virtual machine: load modules, mount its disks, and --vsock"},
    {"probe", ADIT_CONF_BOOL, offsetof(struct main_conf, probe), "false", 0, 0,
     "with --vm: leave at once, since it was only to be seen that a machine gets here"},
    {"hostname", ADIT_CONF_STRING, offsetof(struct main_conf, hostname), "e2b", 1,
     VM_HOSTNAME_CAP - 1, "with --vm: the machine's name"},
    {"log-level", ADIT_CONF_STRING, offsetof(struct main_conf, log_level), "info", 1, 5,
     "debug, info, warn or error"},
    {"log-json", ADIT_CONF_BOOL, offsetof(struct main_conf, log_json), "false", 0, 0,
     "write log lines as JSON objects"},
    {"fsync-uploads", ADIT_CONF_BOOL, offsetof(struct main_conf, fsync_uploads), "false", 0, 0,
     "answer an upload only when the disk has it"},
    {0},
};

/* No default file: the file system belongs to the sandbox, and what starts envd says all by flags.
 */
static const struct adit_conf_spec spec = {
    .program = "envd",
    .usage = "envd --channel-fd N | --vsock | --vm",
    .env_prefix = "ADIT_ENVD",
    .rows = rows,
};

static struct envd envd;
static struct init init;

static int listen_all(const struct main_conf *conf, struct adit_err *err)
{
    int code = ADIT_OK;
    bool has_vsock = conf->vsock || conf->vm;
    if (conf->channel_fd == 0 && !has_vsock)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "give --channel-fd, --vsock or --vm");
    if (conf->channel_fd > 0)
        code = server_listen_channel(envd.server, (int)conf->channel_fd, err);
    if (code == ADIT_OK && has_vsock)
        code = server_listen_vsock(envd.server, err);
    return code;
}

static int start(const struct main_conf *conf, const struct rlimit *nofile, struct adit_err *err)
{
    int failed = uv_loop_init(&envd.uv);
    if (failed)
        return adit_err_sys(err, -failed, "event loop");
    int code = net_loop_init(&envd.net, &envd.uv, err);
    if (code == ADIT_OK)
        code = state_setup(&envd, err);
    if (code == ADIT_OK)
        code = process_table_new(&envd, nofile, &envd.processes, err);
    if (code == ADIT_OK && conf->vm)
        vm_finish();
    if (code == ADIT_OK && getpid() == 1)
        init_egress(&envd);
    if (code == ADIT_OK)
        code = server_new(&envd, &envd.server, err);
    if (code == ADIT_OK)
        code = init_watch(&init, &envd, err);
    if (code == ADIT_OK)
        code = listen_all(conf, err);
    return code;
}

static int fail(const struct adit_err *err)
{
    fprintf(stderr, "envd: %s\n", err->msg);
    return rpc_status_exit(err->code);
}

static int configure(int argc, char **argv, struct main_conf *conf, int *info,
                     enum adit_log_level *level, struct adit_err *err)
{
    int rest;
    int code = adit_conf_load(&spec, argc, argv, conf, &rest, info, err);
    if (code != ADIT_OK || *info)
        return code;
    if (rest < argc)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", argv[rest]);
    if (conf->vm && getpid() != 1)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "vm: this is not the first process");
    code = adit_log_level_parse(conf->log_level, level);
    if (code != ADIT_OK)
        (void)adit_err_set(err, code, "log-level: '%s' is no level", conf->log_level);
    return code;
}

/* Everything from the configuration to the end. */
static int serve(const struct main_conf *conf, struct rlimit *nofile, struct adit_err *err)
{
    int code = ADIT_OK;
    if (conf->vm && conf->probe) {
        adit_log(ADIT_LOG_INFO, "probed");
        return ADIT_OK;
    }
    if (conf->vm) {
        vm_raise_limits(nofile);
        code = vm_boot(conf->hostname, err);
    }
    if (code != ADIT_OK)
        return code;
    if (getpid() == 1)
        init_sandbox();
    envd.root = "";
    envd.run_dir = STATE_RUN_DIR;
    envd.fsync_uploads = conf->fsync_uploads;
    code = start(conf, nofile, err);
    if (code != ADIT_OK)
        return code;
    adit_log(ADIT_LOG_INFO, "listening", LOG_S("version", ENVD_VERSION), LOG_D("pid", getpid()));
    (void)uv_run(&envd.uv, UV_RUN_DEFAULT); /* 0: nothing is left */
    adit_log(ADIT_LOG_INFO, "stopped");
    state_fini(&envd);
    return ADIT_OK;
}

int main(int argc, char **argv)
{
    struct rlimit nofile;
    struct main_conf conf;
    struct adit_err err;
    enum adit_log_level level;
    int info;
    (void)mallopt(M_ARENA_MAX,
                  1); /* the pool's threads allocate little; an arena each costs more */
    init_process(&nofile);
    int code = configure(argc, argv, &conf, &info, &level, &err);
    if (code == ADIT_OK && info) {
        adit_conf_inform(&spec, info, ENVD_VERSION);
        return EXIT_SUCCESS;
    }
    if (code != ADIT_OK)
        return fail(&err);
    adit_log_init("envd", level, conf.log_json);
    code = serve(&conf, &nofile, &err);
    int status = code == ADIT_OK ? EXIT_SUCCESS : fail(&err);
    if (conf.vm)
        vm_leave();
    adit_conf_fini(&spec, &conf);
    return status;
}
