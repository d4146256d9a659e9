/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code-interpreter API.
 *
 * Theory of operation
 *
 *   GET  /health                   "OK"
 *   POST /execute                  run a cell; a stream of lines
 *   GET  /contexts                 all, the oldest first
 *   POST /contexts                 a new one
 *   POST /contexts/{id}/restart    a fresh kernel under the same id
 *   DELETE /contexts/{id}
 *
 * What:  each language has a default context; those that clients expect in the list are made at
 * the start, the others when they are first needed. A default context is an entry in the list until
 * its first cell; only then is there a process.
 * Limits: KERNEL_SERVICE_CONTEXTS_MAX, KERNEL_REQUEST_MAX.
 * Trust:  /execute asks for the sandbox's token, if it has one. No client sends it with the rest of
 * the calls, and none of those runs code.
 */
#include "envd/kernel/kernel_service.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "envd/auth.h"
#include "envd/cors.h"
#include "envd/kernel/kernel_request.h"
#include "envd/process/process_start.h"
#include "net/url.h"

#define CONTEXTS_PATH "/contexts/"
#define RESTART_SUFFIX "/restart"
#define CONTEXT_JSON_CAP (KERNEL_SERVICE_CONTEXTS_MAX * (6u * ENVD_PATH_CAP + 256))

/* @contexts: in the order they were made. */
struct kernel_service {
    struct envd *envd; /* borrowed */
    struct kernel_pool pool;
    struct adit_list contexts;
    size_t context_cnt;
};

/* A request whose body is on its way; freed with its exchange or with its handler's call. */
struct call {
    struct adit_buf body;
    void (*handle)(struct kernel_service *s, struct http_exchange *x, struct adit_view body);
};

/* ---- answers ---- */

static void reply(struct http_exchange *x, unsigned status, const char *type, struct adit_view body)
{
    if (http_exchange_header_str(x, "Content-Type", type) == ADIT_OK)
        http_exchange_reply(x, status, body);
    else
        http_exchange_reset(x);
}

static void reply_text(struct http_exchange *x, unsigned status, const char *text)
{
    reply(x, status, "text/plain; charset=utf-8", adit_view_str(text));
}

static void reply_json(struct http_exchange *x, unsigned status, const char *text)
{
    reply(x, status, "application/json", adit_view_str(text));
}

static void reply_failure(struct http_exchange *x, unsigned status, const char *what,
                          const struct adit_err *err)
{
    char text[ADIT_ERR_MSG_CAP + 64];
    (void)snprintf(text, sizeof text, "%s: %s", what, err->msg);
    reply_text(x, status, text);
}

static void reply_not_found(struct http_exchange *x, struct adit_view id)
{
    char text[128];
    (void)snprintf(text, sizeof text, "Context %.*s not found", id.len < 64 ? (int)id.len : 64,
                   id.ptr);
    reply_text(x, 404, text);
}

static void reply_bad_body(struct http_exchange *x, const struct kernel_request_error *e)
{
    char text[256];
    (void)snprintf(text, sizeof text,
                   "{\"detail\":[{\"type\":\"%s\",\"loc\":[\"body\"%s%s%s],\"msg\":\"%s\"}]}",
                   e->type, e->member ? ",\"" : "", e->member ? e->member : "",
                   e->member ? "\"" : "", e->message);
    reply_json(x, 422, text);
}

/* ---- contexts ---- */

static struct kernel_context *context_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct kernel_context, node);
}

static struct kernel_context *find_context(struct kernel_service *s, struct adit_view id)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &s->contexts)
    if (adit_view_eq_str(id, context_of(it)->id))
        return context_of(it);
    return NULL;
}

static struct kernel_context *find_default(struct kernel_service *s,
                                           const struct kernel_language *l)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &s->contexts)
    if (context_of(it)->is_default && context_of(it)->language == l)
        return context_of(it);
    return NULL;
}

static int add_context(struct kernel_service *s, const struct kernel_language *l, const char *cwd,
                       struct kernel_context **out, struct adit_err *err)
{
    if (s->context_cnt >= KERNEL_SERVICE_CONTEXTS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d contexts",
                            KERNEL_SERVICE_CONTEXTS_MAX);
    int code = kernel_context_new(&s->pool, l, cwd, out, err);
    if (code != ADIT_OK)
        return code;
    adit_list_push(&s->contexts, &(*out)->node);
    s->context_cnt++;
    return ADIT_OK;
}

static void remove_context(struct kernel_service *s, struct kernel_context *c)
{
    s->context_cnt--;
    kernel_context_free(c);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *default_cwd(void)
{
    return is_directory(KERNEL_PROCESS_CWD) ? KERNEL_PROCESS_CWD : "/";
}

static int get_default(struct kernel_service *s, const struct kernel_language *l,
                       struct kernel_context **out, struct adit_err *err)
{
    *out = find_default(s, l);
    if (*out)
        return ADIT_OK;
    int code = add_context(s, l, default_cwd(), out, err);
    if (code == ADIT_OK)
        (*out)->is_default = true;
    return code;
}

static const char *search_path(const struct envd *e)
{
    const struct envd_env_var *var = adit_map_get(&e->env, adit_view_str("PATH"));
    const char *own = getenv("PATH");
    if (var)
        return var->value;
    return own && *own ? own : PROCESS_START_PATH;
}

/* A language that can be run here. */
static int get_language(const struct kernel_service *s, struct adit_view name,
                        const struct kernel_language **out, struct adit_err *err)
{
    const struct kernel_language *l =
        kernel_language_find(name.ptr ? name : adit_view_str("python"));
    if (!l)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "no kernel for the language '%.*s'",
                            name.len < 32 ? (int)name.len : 32, name.ptr);
    if (!kernel_language_is_installed(l, search_path(s->envd)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "%s is not in this sandbox; its template needs the package %s",
                            l->runtime, l->package);
    *out = l;
    return ADIT_OK;
}

/* ---- handlers ---- */

static int append_context(struct adit_buf *out, const struct kernel_context *c)
{
    int code = adit_buf_appendf(out, "{\"id\":\"%s\",\"language\":\"%s\",\"cwd\":\"", c->id,
                                c->language->name);
    if (code == ADIT_OK)
        code = adit_buf_append_json_text(out, adit_view_str(c->cwd));
    return code == ADIT_OK ? adit_buf_append_str(out, "\"}") : code;
}

static void reply_document(struct http_exchange *x, int code, struct adit_buf *body)
{
    if (code == ADIT_OK)
        reply(x, 200, "application/json", adit_buf_view(body));
    else
        reply_text(x, 503, "out of memory");
    adit_buf_fini(body);
}

static void list_contexts(struct kernel_service *s, struct http_exchange *x)
{
    struct adit_buf body;
    struct adit_list *it, *tmp;
    const char *separator = "";
    adit_buf_init(&body, CONTEXT_JSON_CAP);
    int code = adit_buf_append_char(&body, '[');
    ADIT_LIST_EACH(it, tmp, &s->contexts)
    {
        if (code == ADIT_OK)
            code = adit_buf_append_str(&body, separator);
        if (code == ADIT_OK)
            code = append_context(&body, context_of(it));
        separator = ",";
    }
    if (code == ADIT_OK)
        code = adit_buf_append_char(&body, ']');
    reply_document(x, code, &body);
}

static int start_context(struct kernel_service *s, const struct kernel_request *r, const char *cwd,
                         struct kernel_context **out, struct adit_err *err)
{
    const struct kernel_language *l;
    int code = get_language(s, r->language, &l, err);
    if (code == ADIT_OK)
        code = add_context(s, l, cwd, out, err);
    if (code != ADIT_OK)
        return code;
    code = kernel_context_start(*out, err);
    if (code != ADIT_OK)
        remove_context(s, *out);
    return code;
}

static void create_context(struct kernel_service *s, struct http_exchange *x, struct adit_view body)
{
    struct kernel_request r;
    struct kernel_request_error detail;
    struct adit_err err = ADIT_ERR_INIT;
    struct kernel_context *made;
    struct adit_buf answer;
    if (kernel_request_parse(body.len ? body : adit_view_str("{}"), false, &r, &detail)) {
        reply_bad_body(x, &detail);
    } else if (r.cwd.len >= ENVD_PATH_CAP || (r.cwd.len > 0 && !is_directory(r.cwd.ptr))) {
        reply_text(x, 500, "Failed to set working directory");
    } else if (start_context(s, &r, r.cwd.len > 0 ? r.cwd.ptr : default_cwd(), &made, &err)) {
        reply_failure(x, 500, "Failed to create context", &err);
    } else {
        adit_buf_init(&answer, CONTEXT_JSON_CAP);
        reply_document(x, append_context(&answer, made), &answer);
    }
    kernel_request_fini(&r);
}

static int append_variables(json_t *variables, struct adit_buf *out)
{
    const char *name;
    json_t *value;
    int code = ADIT_OK;
    json_object_foreach(variables, name, value)
    {
        if (code == ADIT_OK)
            code = adit_buf_appendf(out, "%s=%s", name, json_string_value(value));
        if (code == ADIT_OK)
            code = adit_buf_append_char(out, '\0');
    }
    return code;
}

static void run_in(struct kernel_context *c, struct http_exchange *x,
                   const struct kernel_request *r)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf variables;
    struct kernel_execution *ex;
    adit_buf_init(&variables, 2 * KERNEL_REQUEST_MAX);
    if (c->queue_len >= KERNEL_CONTEXT_QUEUE_MAX)
        reply_text(x, 429, "too many cells wait in this context");
    else if (append_variables(r->variables, &variables) != ADIT_OK ||
             kernel_execution_new(x, adit_buf_view(&variables), r->code, &ex, &err) != ADIT_OK)
        reply_text(x, 503, "out of memory");
    else
        kernel_context_run(c, ex);
    adit_buf_fini(&variables);
}

/* The context that a request means. Return: NULL after an answer. */
static struct kernel_context *choose_context(struct kernel_service *s, struct http_exchange *x,
                                             const struct kernel_request *r)
{
    const struct kernel_language *l;
    struct adit_err err = ADIT_ERR_INIT;
    struct kernel_context *c = NULL;
    if (r->context_id.len > 0 && r->language.len > 0) {
        reply_text(x, 400, "Only one of context_id or language can be provided");
    } else if (r->context_id.len > 0) {
        c = find_context(s, r->context_id);
        if (!c)
            reply_not_found(x, r->context_id);
    } else if (get_language(s, r->language.len ? r->language : adit_view_mem(NULL, 0), &l, &err) ||
               get_default(s, l, &c, &err)) {
        reply_failure(x, 500, "Failed to create context", &err);
        c = NULL;
    }
    return c;
}

static void execute(struct kernel_service *s, struct http_exchange *x, struct adit_view body)
{
    struct kernel_request r;
    struct kernel_request_error detail;
    if (kernel_request_parse(body, true, &r, &detail)) {
        reply_bad_body(x, &detail);
    } else {
        struct kernel_context *c = choose_context(s, x, &r);
        if (c)
            run_in(c, x, &r);
    }
    kernel_request_fini(&r);
}

static void restart_context(struct kernel_context *c, struct http_exchange *x)
{
    struct adit_err err = ADIT_ERR_INIT;
    char text[128];
    if (kernel_context_restart(c, &err) == ADIT_OK) {
        reply_json(x, 200, "null");
        return;
    }
    adit_log(ADIT_LOG_WARN, "kernel_not_restarted", LOG_S("context", c->id), LOG_ERR(&err));
    (void)snprintf(text, sizeof text, "Failed to restart context %s", c->id);
    reply_text(x, 500, text);
}

/* ---- routing ---- */

static void call_free(struct call *call)
{
    adit_buf_fini(&call->body);
    free(call);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct call *call = http_exchange_user(x);
    if (adit_buf_append_view(&call->body, bytes) == ADIT_OK)
        return;
    reply_text(x, 413, "the request is too large");
    call_free(call);
}

static void on_body_end(struct http_exchange *x)
{
    const struct envd *e = http_server_owner(http_exchange_server(x));
    struct call *call = http_exchange_user(x);
    http_exchange_set_ops(x, NULL, NULL);
    call->handle(e->kernels, x, adit_buf_view(&call->body));
    call_free(call);
}

static void on_body_abort(struct http_exchange *x, const struct adit_err *err)
{
    (void)err; /* nothing was begun */
    call_free(http_exchange_user(x));
}

static const struct http_exchange_ops call_ops = {
    .on_body = on_body, .on_end = on_body_end, .on_abort = on_body_abort};

static void take_body(struct http_exchange *x,
                      void (*handle)(struct kernel_service *, struct http_exchange *,
                                     struct adit_view))
{
    struct call *call = calloc(1, sizeof *call);
    if (!call) {
        reply_text(x, 503, "out of memory");
        return;
    }
    adit_buf_init(&call->body, KERNEL_REQUEST_MAX);
    call->handle = handle;
    http_exchange_set_ops(x, &call_ops, call);
}

static void refuse_method(struct http_exchange *x, const char *allow)
{
    if (http_exchange_header_str(x, "Allow", allow) == ADIT_OK)
        reply_json(x, 405, "{\"detail\":\"Method Not Allowed\"}");
    else
        http_exchange_reset(x);
}

/* "/contexts/<id>" and "/contexts/<id>/restart". */
static void serve_context(struct kernel_service *s, struct http_exchange *x,
                          const struct http_head *head, struct adit_view id)
{
    const size_t suffix_len = sizeof RESTART_SUFFIX - 1;
    bool is_restart =
        id.len > suffix_len &&
        adit_view_eq_str(adit_view_mem(id.ptr + id.len - suffix_len, suffix_len), RESTART_SUFFIX);
    if (is_restart)
        id.len -= suffix_len;
    if (head->method != (is_restart ? HTTP_POST : HTTP_DELETE)) {
        refuse_method(x, is_restart ? "POST" : "DELETE");
        return;
    }
    struct kernel_context *c = find_context(s, id);
    if (!c) {
        reply_not_found(x, id);
    } else if (is_restart) {
        restart_context(c, x);
    } else {
        remove_context(s, c);
        reply_json(x, 200, "null");
    }
}

static void serve_contexts(struct kernel_service *s, struct http_exchange *x,
                           const struct http_head *head)
{
    if (head->method == HTTP_POST)
        take_body(x, create_context);
    else if (head->method == HTTP_GET)
        list_contexts(s, x);
    else
        refuse_method(x, "GET, POST");
}

static void serve_execute(const struct kernel_service *s, struct http_exchange *x,
                          const struct http_head *head)
{
    if (head->method != HTTP_POST)
        refuse_method(x, "POST");
    else if (!auth_allows(s->envd, AUTH_TOKEN, head))
        reply_text(x, 401, AUTH_REFUSAL);
    else
        take_body(x, execute);
}

static void dispatch(struct http_exchange *x, const struct http_head *head, struct adit_view path)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    const size_t prefix_len = sizeof CONTEXTS_PATH - 1;
    if (adit_view_eq_str(path, "/health") && head->method == HTTP_GET)
        reply_json(x, 200, "\"OK\"");
    else if (adit_view_eq_str(path, "/health"))
        refuse_method(x, "GET");
    else if (adit_view_eq_str(path, "/execute"))
        serve_execute(e->kernels, x, head);
    else if (adit_view_eq_str(path, "/contexts"))
        serve_contexts(e->kernels, x, head);
    else if (adit_view_has_prefix(path, CONTEXTS_PATH))
        serve_context(e->kernels, x, head,
                      adit_view_mem(path.ptr + prefix_len, path.len - prefix_len));
    else
        reply_json(x, 404, "{\"detail\":\"Not Found\"}");
}

void kernel_service_on_request(struct http_exchange *x, const struct http_head *head)
{
    struct url_target target;
    struct adit_buf path;
    struct adit_err err;
    adit_buf_init(&path, HTTP_LINE_CAP);
    bool is_clean = url_split_target(head->target, &target, &err) == ADIT_OK &&
                    url_clean_path(target.path, &path) == ADIT_OK;
    request_log_open(x, head, adit_buf_view(&path));
    if (cors_is_preflight(head))
        cors_answer_preflight(x, head);
    else if (cors_put(x, head) != ADIT_OK)
        http_exchange_reset(x);
    else if (!is_clean)
        reply_text(x, 400, "bad request target");
    else
        dispatch(x, head, adit_buf_view(&path));
    adit_buf_fini(&path);
}

/* ---- life ---- */

/* Those that clients expect in the list. */
static int make_defaults(struct kernel_service *s, struct adit_err *err)
{
    struct kernel_context *made;
    int code = ADIT_OK;
    for (size_t i = 0; code == ADIT_OK && i < kernel_language_cnt; i++)
        if (kernel_languages[i].is_default)
            code = get_default(s, &kernel_languages[i], &made, err);
    return code;
}

int kernel_service_new(struct envd *e, struct kernel_service **out, struct adit_err *err)
{
    struct kernel_service *s = calloc(1, sizeof *s);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    s->envd = e;
    kernel_pool_init(&s->pool, e);
    adit_list_init(&s->contexts);
    int code = make_defaults(s, err);
    if (code == ADIT_OK)
        *out = s;
    else
        kernel_service_free(s);
    return code;
}

void kernel_service_free(struct kernel_service *s)
{
    struct adit_list *it;
    while ((it = adit_list_first(&s->contexts)))
        remove_context(s, context_of(it));
    kernel_pool_fini(&s->pool);
    free(s);
}
