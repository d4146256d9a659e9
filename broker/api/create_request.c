/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies of the sandbox endpoints.
 *
 * Theory of operation
 *
 * What: a body becomes a checked struct or one error with the contract's words. Unknown members are
 * ignored (newer clients send more), null is absence. An option that is known but whose feature is
 * not built yet is refused as soon as it would change what the sandbox does; its harmless values
 * (false, empty) pass. Trust: the body is hostile; the edge bounds its size, jtext its depth, the
 * limits here what is kept. Failure: nothing is half-taken: an error leaves @out empty.
 */
#include "broker/api/create_request.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "broker/api/network_config.h"
#include "broker/vmm/vmm_set.h"

#define MS_PER_S UINT64_C(1000)
#define NAME_CAP 128

static int refuse(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

static int not_built(struct adit_err *err, const char *option)
{
    return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "%s is not available yet", option);
}

/* ---- template references ---- */

static bool is_name(struct adit_view v, bool is_tag)
{
    if (v.len == 0 || v.len > NAME_CAP)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              (is_tag && c == '.')))
            return false;
    }
    return true;
}

static bool is_ref(struct adit_view v)
{
    struct adit_view name, tag, space, rest;
    if (adit_view_split(v, ':', &name, &tag) && !is_name(tag, true))
        return false;
    if (!adit_view_split(name, '/', &space, &rest))
        return is_name(name, false);
    return is_name(space, false) && is_name(rest, false);
}

int create_request_ref(struct adit_view text, char out[CREATE_REQUEST_REF_CAP],
                       struct adit_err *err)
{
    text = adit_view_trim(text);
    if (text.len >= CREATE_REQUEST_REF_CAP)
        return refuse(err, "Invalid template reference: it is too long");
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[text.len] = '\0';
    if (!is_ref(adit_view_mem(out, text.len)))
        return refuse(err, "Invalid template reference: it must be [namespace/]name[:tag]");
    return 0;
}

static int take_template(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    const char *text = NULL;
    int rc = jtext_string(doc, "templateID", &text, err);
    if (rc)
        return rc;
    if (!text || !text[0])
        return refuse(err, "validation error: templateID is required");
    return create_request_ref(adit_view_str(text), out->template_ref, err);
}

/* ---- timeouts ---- */

static int too_long(uint64_t max_timeout_ms, struct adit_err *err)
{
    uint64_t hours = max_timeout_ms / (3600 * MS_PER_S);
    if (hours * 3600 * MS_PER_S == max_timeout_ms)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Timeout cannot be greater than %llu hours",
                            (unsigned long long)hours);
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Timeout cannot be greater than %llu seconds",
                        (unsigned long long)(max_timeout_ms / MS_PER_S));
}

/* A timeout that may not be longer than the maximum. @default_s 0: required. */
static int take_timeout(const json_t *doc, uint64_t default_s, uint64_t max_timeout_ms,
                        uint64_t *timeout_ms, struct adit_err *err)
{
    bool has = false;
    int64_t s = (int64_t)default_s;
    int rc = jtext_int(doc, "timeout", INT32_MIN, INT32_MAX, &s, &has, err);
    if (rc)
        return rc;
    if (!has && default_s == 0)
        return refuse(err, "validation error: timeout is required");
    if (s <= 0)
        return refuse(err, "Timeout must be greater than 0");
    *timeout_ms = (uint64_t)s * MS_PER_S;
    if (*timeout_ms > max_timeout_ms && has)
        return too_long(max_timeout_ms, err);
    if (*timeout_ms > max_timeout_ms)
        *timeout_ms = max_timeout_ms;
    return 0;
}

/* ---- isolation ---- */

int create_request_isolation(struct adit_view text, char out[TEMPLATE_ISOLATION_CAP],
                             struct adit_err *err)
{
    if (!vmm_set_knows(text))
        return refuse(err, "validation error: isolation is one of vm, container, gvisor");
    (void)snprintf(out, TEMPLATE_ISOLATION_CAP, "%.*s", ADIT_VIEW_ARG(text)); /* a known word */
    return 0;
}

static int take_isolation(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    const char *word = NULL;
    int rc = jtext_string(doc, "isolation", &word, err);
    return rc || !word ? rc : create_request_isolation(adit_view_str(word), out->isolation, err);
}

/* ---- environment ---- */

static int take_env(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    json_t *env = NULL;
    const char *name;
    json_t *value;
    int rc =
        jtext_string_map(doc, "envVars", CREATE_REQUEST_ENV_MAX, CREATE_REQUEST_ENV_CAP, &env, err);
    if (rc || !env)
        return rc;
    json_object_foreach(env, name, value)
    {
        if (!name[0] || strchr(name, '='))
            return refuse(err, "validation error: envVars has a name that is empty or holds \"=\"");
    }
    out->env_vars = json_incref(env);
    return 0;
}

/* ---- network ---- */

static int take_network(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    struct network_config config;
    json_t *network = NULL;
    int rc = jtext_child(doc, "network", JSON_OBJECT, &network, err);
    if (rc || !network)
        return rc;
    rc = network_config_parse(network, &config, err);
    if (rc)
        return rc;
    out->network = config.doc;
    out->is_private = config.is_private;
    memcpy(out->mask_host, config.mask_host, sizeof(config.mask_host));
    if (out->is_private && !out->secure)
        return refuse(err, "You cannot create a sandbox without public access unless you enable "
                           "secure envd access via 'secure' flag.");
    return 0;
}

/* ---- options of later features ---- */

static int check_auto_resume(const json_t *doc, struct adit_err *err)
{
    json_t *resume = NULL;
    bool enabled = false;
    int rc = jtext_child(doc, "autoResume", JSON_OBJECT, &resume, err);
    if (rc || !resume)
        return rc;
    if ((rc = jtext_bool(resume, "enabled", &enabled, err)))
        return rc;
    return enabled ? not_built(err, "autoResume") : 0;
}

static int check_pausing(const json_t *doc, struct adit_err *err)
{
    bool pause = false, memory = true;
    int rc;
    if ((rc = jtext_bool(doc, "autoPause", &pause, err)) ||
        (rc = jtext_bool(doc, "autoPauseMemory", &memory, err)))
        return rc;
    if (!memory && !pause)
        return refuse(err, "autoPauseMemory=false only applies when autoPause is true.");
    if (pause)
        return not_built(err, "autoPause");
    return check_auto_resume(doc, err);
}

static int check_objects(const json_t *doc, struct adit_err *err)
{
    json_t *mcp = NULL, *iam = NULL, *mounts = NULL;
    int rc;
    if ((rc = jtext_child(doc, "mcp", JSON_OBJECT, &mcp, err)) ||
        (rc = jtext_child(doc, "iam", JSON_OBJECT, &iam, err)) ||
        (rc = jtext_child(doc, "volumeMounts", JSON_ARRAY, &mounts, err)))
        return rc;
    if (json_array_size(mounts) > 0)
        return refuse(err, "Volume mounts are not enabled.");
    if (iam)
        return not_built(err, "iam");
    return mcp ? not_built(err, "mcp") : 0;
}

/* ---- metadata ---- */

/* Bounded as text: lists hold it escaped. */
static int take_metadata(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    json_t *metadata = NULL;
    struct adit_buf text;
    int rc =
        jtext_string_map(doc, "metadata", RECORD_METADATA_MAX, RECORD_METADATA_CAP, &metadata, err);
    if (rc || !metadata)
        return rc;
    adit_buf_init(&text, RECORD_METADATA_CAP);
    rc = jtext_append(&text, metadata);
    adit_buf_fini(&text);
    if (rc == ADIT_ERR_LIMIT)
        return refuse(err, "validation error: metadata is larger than 64 KiB as JSON");
    if (rc)
        return adit_err_set(err, rc, "no memory");
    out->metadata = json_incref(metadata);
    return 0;
}

/* ---- whole bodies ---- */

static int take_internet(const json_t *doc, struct create_request *out, struct adit_err *err)
{
    bool allowed = true;
    int rc = jtext_bool(doc, "allow_internet_access", &allowed, err);
    if (rc)
        return rc;
    if (json_is_boolean(json_object_get(doc, "allow_internet_access")))
        out->internet = allowed ? RECORD_INTERNET_ALLOWED : RECORD_INTERNET_DENIED;
    return 0;
}

static int take_all(const json_t *doc, bool is_v2, uint64_t max_timeout_ms,
                    struct create_request *out, struct adit_err *err)
{
    uint64_t default_s = is_v2 ? CREATE_REQUEST_TIMEOUT_V2_S : CREATE_REQUEST_TIMEOUT_V1_S;
    int rc;
    out->secure = is_v2;
    if ((rc = take_template(doc, out, err)) ||
        (rc = take_timeout(doc, default_s, max_timeout_ms, &out->timeout_ms, err)) ||
        (rc = take_metadata(doc, out, err)) || (rc = take_isolation(doc, out, err)))
        return rc;
    if (!is_v2 && (rc = jtext_bool(doc, "secure", &out->secure, err)))
        return rc;
    if ((rc = take_env(doc, out, err)) || (rc = take_internet(doc, out, err)) ||
        (rc = take_network(doc, out, err)) || (rc = check_pausing(doc, err)))
        return rc;
    return check_objects(doc, err);
}

int create_request_parse(struct adit_view body, bool is_v2, uint64_t max_timeout_ms,
                         struct create_request *out, struct adit_err *err)
{
    json_t *doc = NULL;
    memset(out, 0, sizeof(*out));
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = take_all(doc, is_v2, max_timeout_ms, out, err);
    json_decref(doc);
    if (rc)
        create_request_fini(out);
    return rc;
}

void create_request_fini(struct create_request *r)
{
    json_decref(adit_steal(&r->metadata));
    json_decref(adit_steal(&r->env_vars));
    json_decref(adit_steal(&r->network));
}

int create_request_parse_connect(struct adit_view body, uint64_t default_s, uint64_t max_timeout_ms,
                                 uint64_t *timeout_ms, struct adit_err *err)
{
    json_t *doc = NULL;
    bool memory = true;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = jtext_bool(doc, "memory", &memory, err);
    if (rc == 0)
        rc = take_timeout(doc, default_s, max_timeout_ms, timeout_ms, err);
    json_decref(doc);
    return rc;
}

int create_request_parse_timeout(struct adit_view body, uint64_t max_timeout_ms,
                                 uint64_t *timeout_ms, struct adit_err *err)
{
    json_t *doc = NULL;
    bool has = false;
    int64_t s = 0;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = jtext_int(doc, "timeout", INT32_MIN, INT32_MAX, &s, &has, err);
    json_decref(doc);
    if (rc)
        return rc;
    if (!has)
        return refuse(err, "validation error: timeout is required");
    *timeout_ms = s > 0 ? (uint64_t)s * MS_PER_S : 0;
    if (*timeout_ms > max_timeout_ms)
        *timeout_ms = max_timeout_ms;
    return 0;
}

int create_request_parse_refresh(struct adit_view body, uint64_t *duration_ms, struct adit_err *err)
{
    json_t *doc = NULL;
    int64_t s = CREATE_REQUEST_REFRESH_S;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = jtext_int(doc, "duration", 0, 3600, &s, NULL, err);
    json_decref(doc);
    if (rc)
        return rc;
    if (s < CREATE_REQUEST_REFRESH_S)
        s = CREATE_REQUEST_REFRESH_S;
    *duration_ms = (uint64_t)s * MS_PER_S;
    return 0;
}
