/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envd's context: what the rooms of the agent share.
 *
 * One loop, one thread; everything here is touched by the loop thread only (thread-pool jobs get
 * copies). Owned by main(); lives as long as the program.
 */
#ifndef ENVD_ENVD_H
#define ENVD_ENVD_H

#include "base/map.h"
#include "base/user.h"
#include "base/version.h"
#include "net/http_server.h"
#include "net/net_loop.h"
#include "envd/request_log.h"
#include "envd/user_files.h"

#define ENVD_VERSION ADIT_ENVD_VERSION
#define ENVD_ENV_VARS_MAX 1024
#define ENVD_ENV_BYTES_MAX (256u * 1024)
#define ENVD_PATH_CAP 4096
#define ENVD_KEEPALIVE_S 90
#define ENVD_KEEPALIVE_MAX_S 86400

struct egress;
struct kernel_service;
struct process_table;
struct server;
struct watchers;

/* One NAME=value pair; owned by the map that holds it. */
struct envd_env_var {
    char *value;
    bool is_internal; /* set by envd itself: /init cannot change or remove it */
};

/* Processor time since boot, in any unit. */
struct envd_cpu_time {
    uint64_t busy, total;
};

/*
 * @egress:         NULL where envd is not in charge of the network
 * @http, @kernel_http: of the ports 49983 and 49999
 * @watchers:       NULL while there is none
 * @access_token:   empty: the sandbox is open
 * @default_user:   "root" until /init says otherwise
 * @default_workdir: empty: none
 * @init_wall_ns:   timestamp of the last /init that was taken, 0 before
 * @cpu_before:     processor times at the last /metrics
 * @env:            name → struct envd_env_var
 * @user_files:     begins all zero
 * @root:           where its file system begins: "", but in tests
 * @run_dir:        where programs find that this is a sandbox (state.h); NULL: nowhere
 * @fsync_uploads:  answer an upload only when the disk has it
 */
struct envd {
    uv_loop_t uv;
    struct net_loop net;
    struct server *server;
    struct http_server *http, *kernel_http;
    struct egress *egress;
    struct kernel_service *kernels;
    struct process_table *processes;
    struct watchers *watchers;
    char access_token[256];
    char default_user[USER_NAME_CAP];
    char default_workdir[ENVD_PATH_CAP];
    int64_t init_wall_ns;
    struct envd_cpu_time cpu_before;
    struct adit_map env;
    struct user_files user_files;
    struct request_log request_log;
    const char *root, *run_dir;
    bool fsync_uploads;
};

/*
 * The user a request acts as. @name empty: the default user. Reads the guest's /etc/passwd and
 * /etc/group (kept while their inode, size and times stay the same).
 * Errors: UNAUTHENTICATED "invalid username: '<name>'", or "no user specified".
 */
ADIT_MUST_CHECK int envd_user(struct envd *e, struct adit_view name, struct user_entry *out,
                              struct adit_err *err);

/*
 * Path rules of every RPC and of /files (envd-api.md 2.4): empty → the default workdir if set; "~"
 * and
 * "~/…" → home; absolute as it is; relative → joined to the home and cleaned. Appends to @out.
 * Errors: BAD_INPUT (message of the contract; NUL in the path; longer than ENVD_PATH_CAP).
 */
ADIT_MUST_CHECK int envd_path(struct envd *e, const struct user_entry *user, struct adit_view path,
                              struct adit_buf *out, struct adit_err *err);

/* Basic user of an RPC: Authorization: Basic base64("name:…"); absent → empty name.
 * Errors: UNAUTHENTICATED. */
ADIT_MUST_CHECK int envd_basic_user(const struct http_head *head, char out[USER_NAME_CAP],
                                    struct adit_err *err);

/* How long a stream may be silent: Keepalive-Ping-Interval in seconds, else ENVD_KEEPALIVE_S. */
uint64_t envd_keepalive_ms(const struct http_head *head);

#endif
