/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a process for a client.
 *
 * Theory of operation
 *
 * What:   user -> directory -> environment -> descriptors -> object -> spawn -> table. All that can
 * fail for want of memory comes before the spawn, but for one map entry; if that fails the child is
 * killed at once and the reaper collects it.
 * Environment, the last one wins: PATH (envd's own), HOME, USER, LOGNAME; the global variables of
 * /init; the request's. Nothing else of envd's environment is passed on.
 * Trust:  everything in the request is hostile; its size is bounded by RPC_MESSAGE_MAX. The paths
 * are the user's own to choose: the child enters them under the user's identity. Failure: nothing
 * is left behind: descriptors, child, object.
 */
#include "envd/process/process_start.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "envd/egress/egress.h"
#include "envd/process/spawn.h"

static bool is_pty(const Process__StartRequest *m)
{
    return m->has_pty_case == PROCESS__START_REQUEST__HAS_PTY_PTY && m->pty;
}

static uint32_t pty_cols(const Process__StartRequest *m)
{
    return m->pty->size ? m->pty->size->cols : 0;
}

static uint32_t pty_rows(const Process__StartRequest *m)
{
    return m->pty->size ? m->pty->size->rows : 0;
}

static const char *tag_of(const Process__StartRequest *m)
{
    return m->has_tag_case == PROCESS__START_REQUEST__HAS_TAG_TAG ? m->tag : NULL;
}

/* ---- directory and environment ---- */

/* *out: heap. */
static int resolve_cwd(struct envd *e, const struct user_entry *user,
                       const Process__ProcessConfig *config, char **out, struct adit_err *err)
{
    bool has_cwd = config->has_cwd_case == PROCESS__PROCESS_CONFIG__HAS_CWD_CWD;
    struct adit_buf path;
    adit_buf_init(&path, ENVD_PATH_CAP * 2);
    int code = envd_path(e, user, adit_view_str(has_cwd ? config->cwd : ""), &path, err);
    if (code == ADIT_OK && path.len == 0 && adit_buf_append_str(&path, user->home) != ADIT_OK)
        code = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    *out = code == ADIT_OK ? adit_buf_steal_str(&path) : NULL;
    adit_buf_fini(&path);
    if (code == ADIT_OK && !*out)
        code = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    return code;
}

static int check_cwd(const char *cwd, struct adit_err *err)
{
    struct stat st;
    if (stat(cwd, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "cwd '%s' does not exist", cwd);
    return ADIT_OK;
}

static int set_str(struct env_block *env, const char *name, const char *value, struct adit_err *err)
{
    return env_block_set(env, adit_view_str(name), adit_view_str(value), err);
}

static int set_user_env(struct env_block *env, const struct user_entry *user, struct adit_err *err)
{
    const char *path = getenv("PATH");
    const char *const pairs[][2] = {
        {"PATH", path && *path ? path : PROCESS_START_PATH},
        {"HOME", user->home},
        {"USER", user->name},
        {"LOGNAME", user->name},
    };
    int code = ADIT_OK;
    for (size_t i = 0; code == ADIT_OK && i < sizeof(pairs) / sizeof(pairs[0]); i++)
        code = set_str(env, pairs[i][0], pairs[i][1], err);
    return code;
}

static bool is_set(const struct env_block *env, const char *const names[2])
{
    return env_block_get(env, names[0]) || env_block_get(env, names[1]);
}

/* all_proxy is the HTTP one too: some libraries do not start at all with a SOCKS proxy that they
 * cannot use. */
int process_start_proxies(const struct envd *e, struct env_block *env, struct adit_err *err)
{
    static const char inside[] = "localhost,127.0.0.1,::1";
    static const char *const names[][2] = {{"all_proxy", "ALL_PROXY"},
                                           {"http_proxy", "HTTP_PROXY"},
                                           {"https_proxy", "HTTPS_PROXY"},
                                           {"no_proxy", "NO_PROXY"}};
    const size_t cnt = sizeof(names) / sizeof(names[0]);
    const char *url = e->egress ? egress_proxy_url(e->egress) : NULL;
    int code = ADIT_OK;
    if (!url || is_set(env, names[0]))
        return ADIT_OK;
    for (size_t i = 0; code == ADIT_OK && i < cnt; i++) {
        const char *value = i + 1 < cnt ? url : inside;
        if (is_set(env, names[i]))
            continue;
        code = set_str(env, names[i][0], value, err);
        if (code == ADIT_OK)
            code = set_str(env, names[i][1], value, err);
    }
    return code;
}

int process_start_env(const struct envd *e, const struct user_entry *user, struct env_block *env,
                      struct adit_err *err)
{
    int code = set_user_env(env, user, err);
    struct adit_view name;
    void *value;
    for (size_t pos = 0; code == ADIT_OK && adit_map_next(&e->env, &pos, &name, &value);) {
        const struct envd_env_var *var = value;
        code = env_block_set(env, name, adit_view_str(var->value), err);
    }
    return code;
}

static int build_env(const struct envd *e, const struct user_entry *user,
                     const Process__ProcessConfig *config, struct env_block *env,
                     struct adit_err *err)
{
    int code = process_start_env(e, user, env, err);
    for (size_t i = 0; code == ADIT_OK && i < config->n_envs; i++)
        code = set_str(env, config->envs[i]->key, config->envs[i]->value, err);
    return code == ADIT_OK ? process_start_proxies(e, env, err) : code;
}

/* argv with its spare places; the strings stay the request's. Return: NULL without memory. */
static char **build_argv(const Process__ProcessConfig *config)
{
    char **room = calloc(SPAWN_ARGV_SPARE + config->n_args + 2, sizeof *room);
    if (!room)
        return NULL;
    room[SPAWN_ARGV_SPARE] = config->cmd;
    for (size_t i = 0; i < config->n_args; i++)
        room[SPAWN_ARGV_SPARE + 1 + i] = config->args[i];
    return room;
}

/* ---- object and child ---- */

/* protobuf-c cannot copy a message but through its bytes. Return: NULL without memory. */
static Process__ProcessConfig *copy_config(const Process__ProcessConfig *config)
{
    size_t len = process__process_config__get_packed_size(config);
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return NULL;
    (void)process__process_config__pack(config, bytes); /* writes len bytes */
    Process__ProcessConfig *copy = process__process_config__unpack(NULL, len, bytes);
    free(bytes);
    return copy;
}

static int open_stdio(const Process__StartRequest *m, const struct user_entry *user,
                      struct stdio_fds *fds, struct adit_err *err)
{
    if (is_pty(m))
        return stdio_fds_pty(user, pty_cols(m), pty_rows(m), fds, err);
    bool with_stdin = m->has_stdin_case != PROCESS__START_REQUEST__HAS_STDIN_STDIN || m->stdin;
    return stdio_fds_pipes(user, with_stdin, fds, err);
}

static int describe(struct process *p, const Process__StartRequest *m, struct adit_err *err)
{
    const char *tag = tag_of(m);
    p->config = copy_config(m->process);
    p->tag = tag ? strdup(tag) : NULL;
    if (!p->config || (tag && !p->tag))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    return ADIT_OK;
}

static int cgroup_of(const struct process_table *t, const Process__StartRequest *m)
{
    const char *tag = tag_of(m);
    if (tag && strcmp(tag, "_system") == 0)
        return t->cgroups.dir_fds[CGROUP_SYSTEM];
    return t->cgroups.dir_fds[is_pty(m) ? CGROUP_PTY : CGROUP_USER];
}

static int add_to_table(struct process *p, struct adit_err *err)
{
    if (process_table_add(p->table, p) == ADIT_OK)
        return ADIT_OK;
    (void)kill(p->pid, SIGKILL); /* the reaper collects it */
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
}

/* The rest, once user, directory and environment are known. */
static int start_child(struct process_table *t, const Process__StartRequest *m,
                       struct spawn_request *r, struct process **out, struct adit_err *err)
{
    struct stdio_fds fds;
    struct process *p = NULL;
    int code = open_stdio(m, r->user, &fds, err);
    if (code != ADIT_OK)
        return code;
    code = process_new(t, &fds, is_pty(m), &p, err);
    if (code == ADIT_OK)
        code = describe(p, m, err);
    memcpy(r->fds, fds.child, sizeof r->fds);
    if (code == ADIT_OK)
        code = spawn_start(r, &p->pid, err);
    stdio_fds_close(&fds);
    if (code == ADIT_OK)
        code = add_to_table(p, err);
    if (code != ADIT_OK && p)
        process_close(p);
    *out = p;
    return code;
}

/* ---- errors ---- */

static int explain(const Process__StartRequest *m, const char *cwd, int code, struct adit_err *err)
{
    if (is_pty(m))
        (void)adit_err_wrap(err,
                            "error starting pty with command '%.80s' in dir '%.80s' with '%u' cols "
                            "and '%u' rows",
                            m->process->cmd, cwd, pty_cols(m), pty_rows(m));
    else
        (void)adit_err_wrap(err, "error starting process '%.100s'", m->process->cmd);
    if (code == ADIT_ERR_LIMIT || code == ADIT_ERR_NO_MEMORY)
        return code;
    err->code = ADIT_ERR_BAD_INPUT;
    return ADIT_ERR_BAD_INPUT;
}

static int spawn_as(struct process_table *t, const Process__StartRequest *m,
                    const struct user_entry *user, const char *cwd, struct process **out,
                    struct adit_err *err)
{
    struct env_block env;
    env_block_init(&env);
    char **argv = build_argv(m->process);
    int code = argv ? build_env(t->envd, user, m->process, &env, err)
                    : adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    if (code == ADIT_OK) {
        struct spawn_request r = {
            .cmd = m->process->cmd,
            .argv_room = argv,
            .envp = env_block_vars(&env),
            .search_path = env_block_get(&env, "PATH"),
            .cwd = cwd,
            .user = user,
            .has_tty = is_pty(m),
            .cgroup_fd = cgroup_of(t, m),
            .nofile = &t->nofile,
        };
        code = start_child(t, m, &r, out, err);
    }
    free(argv);
    env_block_fini(&env);
    return code == ADIT_OK ? code : explain(m, cwd, code, err);
}

int process_start(struct process_table *t, const Process__StartRequest *m, const char *user,
                  struct process **out, struct adit_err *err)
{
    if (!m->process || m->process->cmd[0] == '\0')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "error starting process '': no command");
    if (t->live_cnt >= PROCESS_TABLE_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d processes", PROCESS_TABLE_MAX);
    struct user_entry entry;
    int code = envd_user(t->envd, adit_view_str(user), &entry, err);
    if (code != ADIT_OK)
        return code;
    char *cwd;
    code = resolve_cwd(t->envd, &entry, m->process, &cwd, err);
    if (code == ADIT_OK)
        code = check_cwd(cwd, err);
    if (code == ADIT_OK)
        code = spawn_as(t, m, &entry, cwd, out, err);
    free(cwd);
    return code;
}
