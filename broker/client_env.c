/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's variables and the first API key.
 *
 * Theory of operation
 *
 *   scheduler online → key in the file? ── yes ──> Authenticate ── known ──> write and print
 *                             | no                     | unknown
 *                             |________________________|──> CreateKey ──> write and print
 *
 * What: the first start makes one key, so that a client works with two pasted lines. Its secret is
 * nowhere but in this file (mode 0600). Later starts keep the key and renew the address; a store
 * that was thrown away gets a new key. Trust: the file belongs to the broker's user, and what is
 * printed of it a shell of root's evaluates, so it is looked at before. Failure: logged; tried
 * again when the scheduler is online the next time.
 */
#include "broker/client_env.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/edge/edge.h"
#include "broker/key_cache.h"

#define KEY_LINE "export E2B_API_KEY='"
#define UNSET_LINE "unset E2B_API_URL E2B_SANDBOX_URL"
#define TRUST_NAMES "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"

struct client_env {
    struct client_env_conf conf;
    char key[CLIENT_ENV_KEY_CAP];
    bool is_done, is_busy;
};

int client_env_new(const struct client_env_conf *conf, struct client_env **out,
                   struct adit_err *err)
{
    struct client_env *e = calloc(1, sizeof(*e));
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    e->conf = *conf;
    *out = e;
    return 0;
}

void client_env_free(struct client_env *e)
{
    free(e);
}

/* ---- the file ---- */

static int open_dir(const char *state_dir, int *fd, struct adit_err *err)
{
    *fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? adit_err_sys(err, errno, "open %s", state_dir) : 0;
}

static int read_file(const char *state_dir, struct adit_buf *out, struct adit_err *err)
{
    int dir;
    int rc = open_dir(state_dir, &dir, err);
    if (rc)
        return rc;
    rc = adit_file_read(dir, CLIENT_ENV_FILE, out, err);
    (void)close(dir); /* only read through */
    return rc;
}

/* An authority of one's own is beside the certificate that it signed, as "broker dev-cert" leaves
 * it; one that all clients know is not. */
static int format_trust(const struct client_env *e, struct adit_buf *out)
{
    static const char *const names[] = {TRUST_NAMES};
    const char *slash = strrchr(e->conf.tls_cert, '/');
    char path[PATH_MAX];
    int rc = 0;
    if (!slash)
        return 0;
    (void)snprintf(path, sizeof(path), "%.*s/" CLIENT_ENV_CA, (int)(slash - e->conf.tls_cert),
                   e->conf.tls_cert);
    if (access(path, F_OK) != 0)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && rc == 0; i++)
        rc = adit_buf_appendf(out, "export %s='%s'\n", names[i], path);
    return rc;
}

static int format_file(const struct client_env *e, struct adit_buf *out)
{
    const struct client_env_address *a = e->conf.address;
    int rc = a->is_domain ? adit_buf_append_str(out, UNSET_LINE "\n")
                          : adit_buf_appendf(out,
                                             "export E2B_API_URL='%s'\n"
                                             "export E2B_SANDBOX_URL='%s'\n",
                                             a->api_url, a->sandbox_url);
    if (rc == 0)
        rc =
            adit_buf_appendf(out, KEY_LINE "%s'\nexport E2B_DOMAIN='%s'\n", e->key, e->conf.domain);
    return rc ? rc : format_trust(e, out);
}

static int write_file(const struct client_env *e, struct adit_view text, struct adit_err *err)
{
    int dir;
    int rc = open_dir(e->conf.state_dir, &dir, err);
    if (rc)
        return rc;
    rc = adit_file_replace(dir, CLIENT_ENV_FILE, text, 0600, err);
    (void)close(dir); /* only written through */
    return rc;
}

int client_env_find_key(struct adit_view text, char key[CLIENT_ENV_KEY_CAP])
{
    struct adit_view line, value, rest;
    while (text.len > 0) {
        (void)adit_view_split(text, '\n', &line, &text); /* the last line may lack it */
        if (!adit_view_has_prefix(line, KEY_LINE))
            continue;
        value = adit_view_mem(line.ptr + strlen(KEY_LINE), line.len - strlen(KEY_LINE));
        if (!adit_view_split(value, '\'', &value, &rest) || value.len == 0 ||
            value.len >= CLIENT_ENV_KEY_CAP || memchr(value.ptr, '\0', value.len))
            return ADIT_ERR_NOT_FOUND;
        memcpy(key, value.ptr, value.len);
        key[value.len] = '\0';
        return 0;
    }
    return ADIT_ERR_NOT_FOUND;
}

static bool is_name(struct adit_view v)
{
    static const char *const names[] = {"E2B_API_URL", "E2B_SANDBOX_URL", "E2B_API_KEY",
                                        "E2B_DOMAIN", TRUST_NAMES};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (adit_view_eq_str(v, names[i]))
            return true;
    return false;
}

/* "export NAME='value'", in which a shell finds nothing to do. */
static bool is_assignment(struct adit_view line)
{
    static const char begin[] = "export ";
    struct adit_view name, value;
    if (!adit_view_has_prefix(line, begin))
        return false;
    line = adit_view_mem(line.ptr + strlen(begin), line.len - strlen(begin));
    if (!adit_view_split(line, '=', &name, &value) || !is_name(name) || value.len < 2 ||
        value.ptr[0] != '\'' || value.ptr[value.len - 1] != '\'')
        return false;
    for (size_t i = 1; i < value.len - 1; i++)
        if (value.ptr[i] == '\'' || (unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 0x7f)
            return false;
    return true;
}

bool client_env_is_plain(struct adit_view text)
{
    struct adit_view line;
    while (text.len > 0) {
        if (!adit_view_split(text, '\n', &line, &text))
            return false;
        if (!is_assignment(line) && !adit_view_eq_str(line, UNSET_LINE))
            return false;
    }
    return true;
}

int client_env_print(const char *state_dir, struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, CLIENT_ENV_CAP);
    int rc = read_file(state_dir, &text, err);
    if (rc == 0 && !client_env_is_plain(adit_buf_view(&text)))
        rc = adit_err_set(err, ADIT_ERR_PRECONDITION,
                          "%s/" CLIENT_ENV_FILE " holds something else than variables", state_dir);
    if (rc == 0)
        (void)printf("%.*s", ADIT_VIEW_ARG(adit_buf_view(&text)));
    adit_buf_fini(&text);
    return rc;
}

void client_env_address(const char *listen, uint16_t port, const char *domain,
                        struct client_env_address *out)
{
    bool is_tls = edge_is_tls(listen);
    bool is_named = is_tls && strcmp(domain, "localhost") != 0;
    const char *host = is_tls ? strchr(listen, ':') + 1 : listen;
    const char *colon = strrchr(host, ':');
    int len = colon ? (int)(colon - host) : 0;
    if (len == 0 || strncmp(host, "0.0.0.0:", 8) == 0 || strncmp(host, "[::]:", 5) == 0) {
        host = "127.0.0.1";
        len = (int)strlen(host);
    }
    out->is_domain = is_named && port == 443;
    (void)snprintf(out->api_url, sizeof(out->api_url), "%s://%.*s:%u", is_tls ? "https" : "http",
                   len, host, port);
    (void)snprintf(out->sandbox_url, sizeof(out->sandbox_url), "%s", out->api_url);
    if (!is_named)
        return;
    (void)snprintf(out->api_url, sizeof(out->api_url), "https://api.%s:%u", domain, port);
    (void)snprintf(out->sandbox_url, sizeof(out->sandbox_url), "https://sandbox.%s:%u", domain,
                   port);
}

/* ---- the key ---- */

static void print_all(const struct client_env *e, struct adit_view variables)
{
    (void)printf("\nAdit serves at %s (isolation: %s). In another shell:\n\n"
                 "%.*s\n"
                 "and in Python (pip install e2b):\n\n"
                 "from e2b import Sandbox\n"
                 "sandbox = Sandbox.create()\n"
                 "sandbox.files.write(\"hello.txt\", \"hello from a sandbox\")\n"
                 "print(sandbox.commands.run(\"cat hello.txt; uname -a\").stdout)\n"
                 "sandbox.kill()\n\n",
                 e->conf.address->api_url, e->conf.isolation, ADIT_VIEW_ARG(variables));
    (void)fflush(stdout);
}

static void settle(struct client_env *e)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf text;
    int rc;
    adit_buf_init(&text, CLIENT_ENV_CAP);
    rc = format_file(e, &text);
    if (rc)
        (void)adit_err_set(&err, rc, "the client's variables are too long"); /* only told */
    else
        rc = write_file(e, adit_buf_view(&text), &err);
    if (rc)
        adit_log(ADIT_LOG_ERROR, "client_env_not_written", LOG_ERR(&err));
    else
        print_all(e, adit_buf_view(&text));
    e->is_done = rc == 0;
    adit_buf_fini(&text);
}

static void on_created(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct client_env *e = user;
    e->is_busy = false;
    if (err) {
        adit_log(ADIT_LOG_ERROR, "first_key_not_made", LOG_ERR(err));
        return;
    }
    (void)snprintf(e->key, sizeof(e->key), "%s",
                   ((const Scheduler__CreateKeyResponse *)answer)->secret);
    adit_log(ADIT_LOG_INFO, "first_key_made", LOG_S("file", CLIENT_ENV_FILE));
    settle(e);
}

static void call(struct client_env *e, enum scheduler_method method,
                 const ProtobufCMessage *request, rpc_client_fn on_done)
{
    struct adit_err err = ADIT_ERR_INIT;
    e->is_busy = true;
    if (scheduler_client_call(e->conf.client, method, request, on_done, e, &err)) {
        e->is_busy = false;
        adit_log(ADIT_LOG_ERROR, "first_key_not_made", LOG_ERR(&err));
    }
}

static void create_key(struct client_env *e)
{
    char name[] = "default";
    Scheduler__CreateKeyRequest request;
    scheduler__create_key_request__init(&request);
    request.name = name;
    call(e, SCHEDULER_CREATE_KEY, &request.base, on_created);
}

static void on_authenticated(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct client_env *e = user;
    (void)answer; /* that it is known is enough */
    e->is_busy = false;
    if (err && err->code == ADIT_ERR_NOT_FOUND)
        create_key(e);
    else if (err)
        adit_log(ADIT_LOG_ERROR, "first_key_not_checked", LOG_ERR(err));
    else
        settle(e);
}

static int load_key(struct client_env *e, uint8_t hash[ADIT_SHA256_LEN])
{
    struct adit_buf text;
    adit_buf_init(&text, CLIENT_ENV_CAP);
    int rc = read_file(e->conf.state_dir, &text, NULL);
    if (rc == 0)
        rc = client_env_find_key(adit_buf_view(&text), e->key);
    if (rc == 0)
        rc = key_cache_hash(adit_view_str(e->key), hash);
    adit_buf_fini(&text);
    return rc;
}

void client_env_on_online(struct client_env *e)
{
    uint8_t hash[ADIT_SHA256_LEN];
    if (e->is_done || e->is_busy)
        return;
    if (load_key(e, hash)) {
        create_key(e);
        return;
    }
    Scheduler__AuthenticateRequest request;
    scheduler__authenticate_request__init(&request);
    request.key_sha256.data = hash;
    request.key_sha256.len = sizeof(hash);
    call(e, SCHEDULER_AUTHENTICATE, &request.base, on_authenticated);
}
