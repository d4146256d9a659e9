/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox is told about itself: variables, token, defaults, clock. */
/*
 * Theory of operation
 *
 * The host tells a sandbox who it is with /init, over its own channel, after every start and
 * resume. A document is read whole and checked before anything of it is taken. Documents carry the
 * host's time; one that is not newer than the last is answered well and changes nothing, so a
 * repeated /init cannot bring an old state back.
 *
 * Trust: once a token is set, a document without it is refused, whatever its time; one that comes
 * with it in the header may set another. Before that
 * whoever reaches envd first may set it: that is the host, since the public proxy lets no /init
 * through.
 *
 * Limits: STATE_INIT_MAX, ENVD_ENV_VARS_MAX, ENVD_ENV_BYTES_MAX.
 *
 * Authorities that the host names are added to the sandbox's store (ca_store.h), and programs that
 * bring their own hear of them by variables, unless the sandbox's owner has set those. It is done
 * here and now: nothing waits for the disk, and whoever reads the answer may rely on it.
 *
 * Failure: what needs a network card (volume mounts, the events address) is refused by
 * name, not silently left out. A clock that may not be set, as in a container, is the host's own.
 */
#include "envd/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "envd/auth.h"
#include "envd/ca_store.h"
#include "envd/filesystem/place.h"
#include "envd/rest.h"
#include "envd/vm.h"

#define NS_PER_S INT64_C(1000000000)

/* ---- variables ---- */

static void free_var(struct envd_env_var *var)
{
    if (var)
        free(var->value);
    free(var);
}

static int put_var(struct adit_map *env, struct adit_view name, struct adit_view value,
                   bool is_internal)
{
    struct envd_env_var *var = calloc(1, sizeof *var), *old = adit_map_get(env, name);
    if (!var || !(var->value = adit_view_dup(value)) || adit_map_put(env, name, var)) {
        free_var(var);
        return ADIT_ERR_NO_MEMORY;
    }
    var->is_internal = is_internal;
    free_var(old);
    return 0;
}

static void free_env(struct adit_map *env)
{
    struct adit_view name;
    void *var;
    for (size_t pos = 0; adit_map_next(env, &pos, &name, &var);)
        free_var(var);
    adit_map_fini(env);
}

static bool is_internal(const struct envd *e, struct adit_view name)
{
    const struct envd_env_var *var = adit_map_get(&e->env, name);
    return var && var->is_internal;
}

static int copy_internal(const struct envd *e, struct adit_map *env)
{
    struct adit_view name;
    void *value;
    for (size_t pos = 0; adit_map_next(&e->env, &pos, &name, &value);) {
        const struct envd_env_var *var = value;
        if (var->is_internal && put_var(env, name, adit_view_str(var->value), true))
            return ADIT_ERR_NO_MEMORY;
    }
    return 0;
}

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

static int add_vars(const struct envd *e, json_t *vars, struct adit_map *env, struct adit_err *err)
{
    const char *key;
    json_t *item;
    size_t bytes = 0;

    json_object_foreach(vars, key, item)
    {
        struct adit_view name = adit_view_str(key), value = adit_view_str(json_string_value(item));
        if (!value.ptr)
            return bad(err, "envVars must be strings");
        if (name.len == 0 || strchr(key, '='))
            return bad(err, "invalid name in envVars");
        bytes += name.len + value.len;
        if (bytes > ENVD_ENV_BYTES_MAX)
            return bad(err, "envVars are too large");
        if (!is_internal(e, name) && put_var(env, name, value, false))
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    return 0;
}

/* The variables as they are to be. */
static int make_env(const struct envd *e, json_t *vars, struct adit_map *env, struct adit_err *err)
{
    if (!json_is_object(vars))
        return bad(err, "envVars must be an object");
    if (json_object_size(vars) > ENVD_ENV_VARS_MAX)
        return bad(err, "too many envVars");
    if (copy_internal(e, env))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    return add_vars(e, vars, env, err);
}

/* ---- the document ---- */

/* The texts of a document; NULL: absent. */
struct document {
    const char *token, *timestamp, *user, *workdir, *sandbox_id, *template_id, *ca_bundle;
    const char *hostname, *entropy;
    int64_t wall_ns;
    json_t *env_vars; /* borrowed; NULL: absent */
};

/* A member that may be absent, null or a string shorter than @cap. */
static int read_text(const json_t *doc, const char *name, size_t cap, const char **out,
                     struct adit_err *err)
{
    const json_t *value = json_object_get(doc, name);
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s must be a string", name);
    if (json_string_length(value) >= cap)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is too long", name);
    *out = json_string_value(value);
    return 0;
}

static int refuse_unsupported(const json_t *doc, struct adit_err *err)
{
    static const char *const names[] = {"hyperloopIP", "volumeMounts"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(doc, names[i]);
        if (json_array_size(value) > 0 || (json_is_string(value) && json_string_length(value) > 0))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is not supported by this envd",
                                names[i]);
    }
    return 0;
}

static int read_document(const struct envd *e, const json_t *doc, struct document *d,
                         struct adit_err *err)
{
    const struct {
        const char *name;
        size_t cap;
        const char **out;
    } texts[] = {
        {"accessToken", sizeof e->access_token, &d->token},
        {"timestamp", ADIT_CLOCK_RFC3339_CAP, &d->timestamp},
        {"defaultUser", sizeof e->default_user, &d->user},
        {"defaultWorkdir", sizeof e->default_workdir, &d->workdir},
        {"sandboxID", USER_NAME_CAP, &d->sandbox_id},
        {"templateID", USER_NAME_CAP, &d->template_id},
        {"caBundle", CA_STORE_PEM_MAX, &d->ca_bundle},
        {"hostname", VM_HOSTNAME_CAP, &d->hostname},
        {"entropy", VM_ENTROPY_CAP, &d->entropy},
    };
    if (!json_is_object(doc))
        return bad(err, "request body must be a JSON object");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int rc = read_text(doc, texts[i].name, texts[i].cap, texts[i].out, err);
        if (rc)
            return rc;
    }
    if (d->timestamp && adit_clock_parse_rfc3339(adit_view_str(d->timestamp), &d->wall_ns))
        return bad(err, "timestamp must be RFC 3339");
    d->env_vars = json_object_get(doc, "envVars");
    if (json_is_null(d->env_vars))
        d->env_vars = NULL;
    return refuse_unsupported(doc, err);
}

static int authorize(const struct envd *e, const struct document *d, struct adit_view shown,
                     struct adit_err *err)
{
    struct adit_view have = adit_view_str(e->access_token);
    if (!have.len || adit_view_eq_secret(adit_view_str(d->token), have) ||
        (shown.len && adit_view_eq_secret(shown, have)))
        return 0;
    return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED,
                        "access token validation failed: the token does not match");
}

static void set_clock(int64_t wall_ns)
{
    int64_t behind = wall_ns - adit_clock_wall_ns();
    struct timespec t = {wall_ns / NS_PER_S, wall_ns % NS_PER_S};
    if (behind <= STATE_CLOCK_BEHIND_NS && behind >= -STATE_CLOCK_AHEAD_NS)
        return;
    if (clock_settime(CLOCK_REALTIME, &t))
        adit_log(ADIT_LOG_DEBUG, "clock_not_set", LOG_D("behind_ns", behind));
    else
        adit_log(ADIT_LOG_INFO, "clock_set", LOG_D("behind_ns", behind));
}

static void set_text(char *out, size_t cap, const char *text)
{
    (void)snprintf(out, cap, "%s", text); /* read_text saw to the length */
}

/* <run_dir>/.<name>, for programs that look for a file. Best effort: the root may be read-only. Not
 * synced: it says what is true while envd runs. */
static void write_marker(const struct envd *e, const char *name, const char *value)
{
    char path[128];
    size_t len = strlen(value);
    if (!e->run_dir)
        return;
    (void)snprintf(path, sizeof path, "%s/.%s", e->run_dir, name); /* names are ours */
    (void)!adit_file_mkdirs(e->run_dir, 0755, NULL);               /* then open fails */
    ADIT_CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, value, len) != (ssize_t)len)
        adit_log(ADIT_LOG_DEBUG, "marker_not_written", LOG_S("path", path));
}

/* A variable that envd answers for: /init cannot change it as one of the environment. What was said
 * before costs no write: a file that is written anew may wait for the disk. */
static int set_identity(struct envd *e, const char *name, const char *value)
{
    const struct envd_env_var *have = adit_map_get(&e->env, adit_view_str(name));
    if (!value || !value[0] || (have && have->is_internal && strcmp(have->value, value) == 0))
        return 0;
    write_marker(e, name, value);
    return put_var(&e->env, adit_view_str(name), adit_view_str(value), true);
}

/* Unless the sandbox's owner has: a variable that envd answers for. */
static int set_default(struct envd *e, const char *name, const char *value)
{
    struct adit_view key = adit_view_str(name);
    bool is_owners = adit_map_get(&e->env, key) && !is_internal(e, key);
    return is_owners ? 0 : put_var(&e->env, key, adit_view_str(value), true);
}

/* Programs that bring authorities of their own: Node takes more, the others take one file instead,
 * which therefore has to hold all. */
static int tell_programs(struct envd *e, const char *bundle)
{
    if (set_default(e, "NODE_EXTRA_CA_CERTS", CA_STORE_FILE))
        return ADIT_ERR_NO_MEMORY;
    if (!bundle[0])
        return 0;
    return set_default(e, "SSL_CERT_FILE", bundle) || set_default(e, "REQUESTS_CA_BUNDLE", bundle)
               ? ADIT_ERR_NO_MEMORY
               : 0;
}

static int take_document(struct envd *e, const struct document *d, struct adit_err *err)
{
    struct adit_map env;
    const char *bundle = NULL;
    int rc = 0;

    adit_map_init(&env);
    if (d->ca_bundle && d->ca_bundle[0])
        rc = ca_store_add(e->root, adit_view_str(d->ca_bundle), &bundle, err);
    if (!rc && d->hostname)
        rc = vm_set_hostname(d->hostname, err);
    if (!rc && d->entropy)
        rc = vm_add_entropy(d->entropy, err);
    if (!rc && d->env_vars)
        rc = make_env(e, d->env_vars, &env, err);
    if (rc) {
        free_env(&env);
        return rc;
    }
    if (d->env_vars) {
        free_env(&e->env);
        e->env = env;
    }
    if (set_identity(e, "E2B_SANDBOX_ID", d->sandbox_id) ||
        set_identity(e, "E2B_TEMPLATE_ID", d->template_id) || (bundle && tell_programs(e, bundle)))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    set_text(e->access_token, sizeof e->access_token, d->token ? d->token : "");
    if (d->user && d->user[0])
        set_text(e->default_user, sizeof e->default_user, d->user);
    if (d->workdir && d->workdir[0])
        set_text(e->default_workdir, sizeof e->default_workdir, d->workdir);
    if (d->timestamp) {
        e->init_wall_ns = d->wall_ns;
        set_clock(d->wall_ns);
    }
    return 0;
}

int state_apply(struct envd *e, struct adit_view json, struct adit_view shown, struct adit_err *err)
{
    struct document d = {0};
    json_t *doc = json.len ? adit_json_load(json, JSON_REJECT_DUPLICATES, NULL) : json_object();
    int rc = read_document(e, doc, &d, err);
    if (!rc)
        rc = authorize(e, &d, shown, err);
    bool is_old = d.timestamp && d.wall_ns <= e->init_wall_ns;
    if (!rc && !is_old)
        rc = take_document(e, &d, err);
    json_decref(doc);
    return rc;
}

int state_setup(struct envd *e, struct adit_err *err)
{
    adit_map_init(&e->env);
    set_text(e->default_user, sizeof e->default_user, "root");
    place_clean();
    if (set_identity(e, "E2B_SANDBOX", "true") ||
        set_identity(e, "E2B_SANDBOX_ID", getenv("E2B_SANDBOX_ID")) ||
        set_identity(e, "E2B_TEMPLATE_ID", getenv("E2B_TEMPLATE_ID")))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    return 0;
}

void state_fini(struct envd *e)
{
    free_env(&e->env);
    user_files_fini(&e->user_files);
}

/* ---- handlers ---- */

static bool set_no_store(struct http_exchange *x)
{
    if (http_exchange_header_str(x, "Cache-Control", "no-store") == 0)
        return true;
    http_exchange_reset(x);
    return false;
}

void state_health(struct http_exchange *x, const struct http_head *head)
{
    (void)head; /* nothing in it matters */
    if (set_no_store(x))
        http_exchange_reply(x, 204, (struct adit_view){NULL, 0});
}

static void reply_document(struct http_exchange *x, int rc, struct adit_buf *body)
{
    if (rc)
        rest_reply_error(x, 503, "out of memory");
    else if (set_no_store(x))
        rest_reply_json(x, 200, adit_buf_view(body));
    adit_buf_fini(body);
}

void state_metrics(struct http_exchange *x, const struct http_head *head)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    struct adit_buf body;
    (void)head; /* nothing in it matters */
    adit_buf_init(&body, 4096);
    reply_document(x, state_append_metrics(e, &body), &body);
}

static int append_env(const struct adit_map *env, struct adit_buf *out)
{
    struct adit_view name;
    void *value;
    const char *separator = "\"";
    int rc = adit_buf_append_char(out, '{');

    for (size_t pos = 0; !rc && adit_map_next(env, &pos, &name, &value);) {
        const struct envd_env_var *var = value;
        rc = adit_buf_append_str(out, separator);
        separator = ",\"";
        if (!rc)
            rc = adit_buf_append_json_text(out, name);
        if (!rc)
            rc = adit_buf_append_str(out, "\":\"");
        if (!rc)
            rc = adit_buf_append_json_text(out, adit_view_str(var->value));
        if (!rc)
            rc = adit_buf_append_char(out, '"');
    }
    return rc ? rc : adit_buf_append_char(out, '}');
}

void state_envs(struct http_exchange *x, const struct http_head *head)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    struct adit_buf body;
    (void)head; /* nothing in it matters */
    adit_buf_init(&body, 8 * (size_t)ENVD_ENV_BYTES_MAX);
    reply_document(x, append_env(&e->env, &body), &body);
}

/* The body of an /init on its way; freed with its exchange. */
struct init_request {
    struct adit_buf body;
    char shown[sizeof(((struct envd *)NULL)->access_token)]; /* the token of the header */
};

static void init_request_free(struct init_request *r)
{
    adit_buf_fini(&r->body);
    free(r);
}

static void on_init_body(struct http_exchange *x, struct adit_view bytes)
{
    struct init_request *r = http_exchange_user(x);
    if (adit_buf_append_view(&r->body, bytes) == 0)
        return;
    rest_reply_error(x, 400, "request body is too large");
    init_request_free(r);
}

static void reply_init(struct http_exchange *x)
{
    if (http_exchange_header_str(x, "X-Envd-Version", ENVD_VERSION))
        http_exchange_reset(x);
    else if (set_no_store(x))
        http_exchange_reply(x, 204, (struct adit_view){NULL, 0});
}

static void on_init_end(struct http_exchange *x)
{
    struct init_request *r = http_exchange_user(x);
    struct envd *e = http_server_owner(http_exchange_server(x));
    struct adit_err err = ADIT_ERR_INIT;

    int rc = state_apply(e, adit_buf_view(&r->body), adit_view_str(r->shown), &err);
    if (rc == ADIT_ERR_UNAUTHENTICATED && http_exchange_header_str(x, "Content-Type", "text/plain"))
        http_exchange_reset(x);
    else if (rc == ADIT_ERR_UNAUTHENTICATED)
        http_exchange_reply(x, 401, adit_view_str(err.msg));
    else if (rc)
        rest_reply_err(x, &err);
    else
        reply_init(x);
    init_request_free(r);
}

static void on_init_abort(struct http_exchange *x, const struct adit_err *err)
{
    (void)err; /* the host will come again */
    init_request_free(http_exchange_user(x));
}

static const struct http_exchange_ops init_ops = {
    .on_body = on_init_body, .on_end = on_init_end, .on_abort = on_init_abort};

void state_init(struct http_exchange *x, const struct http_head *head)
{
    struct init_request *r = calloc(1, sizeof *r);
    struct adit_view shown = http_head_get(head, AUTH_HEADER);
    if (!r) {
        rest_reply_error(x, 503, "out of memory");
        return;
    }
    if (shown.len < sizeof r->shown && http_head_count(head, AUTH_HEADER) == 1)
        memcpy(r->shown, shown.ptr, shown.len);
    adit_buf_init(&r->body, STATE_INIT_MAX);
    http_exchange_set_ops(x, &init_ops, r);
}
