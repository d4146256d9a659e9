/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use /files: access token or signed URL. */
/*
 * Theory of operation
 *
 * A signature is B64(SHA256("path:operation:user:token[:expiration]")) without padding, so a URL
 * can be handed out that is good for one path, one user, one operation and a time. It is judged
 * before its expiry, so that an expired URL is told from a forged one only by its maker.
 *
 * Trust: everything in the query is a client's. Tokens and signatures are compared in constant
 * time.
 *
 * Limits: decoded parameters hold ENVD_PATH_CAP bytes.
 */
#include "envd/filesystem/files.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/sha256.h"
#include "net/url.h"

#define NS_PER_S INT64_C(1000000000)
#define PARAMETER_CAP ENVD_PATH_CAP
#define MESSAGE_CAP (4 * ENVD_PATH_CAP)

int files_sign(const struct files_signed *s, struct adit_buf *out)
{
    const struct adit_view parts[] = {s->path, s->operation, s->user, s->token, s->expiration};
    size_t cnt = s->expiration.len ? 5 : 4;
    uint8_t digest[ADIT_SHA256_LEN];
    struct adit_buf message;
    int rc = 0;

    adit_buf_init(&message, MESSAGE_CAP);
    for (size_t i = 0; !rc && i < cnt; i++) {
        rc = i ? adit_buf_append_char(&message, ':') : 0;
        if (!rc)
            rc = adit_buf_append_view(&message, parts[i]);
    }
    if (!rc) {
        adit_sha256(adit_buf_view(&message), digest);
        rc = adit_buf_append_str(out, FILES_SIGNATURE_PREFIX);
    }
    if (!rc)
        rc = adit_base64_append(out, digest, sizeof digest);
    while (!rc && adit_buf_tail(out)[-1] == '=')
        out->len--; /* the contract leaves the padding out */
    adit_buf_fini(&message);
    return rc;
}

/* The parameters that matter here, decoded. */
struct parameters {
    struct adit_buf path, user, signature, expiration;
    bool has_signature, has_expiration;
};

static int read_parameters(struct parameters *p, struct adit_view query)
{
    bool ignored;
    int rc = url_query_get(query, "path", &p->path, &ignored);
    if (!rc)
        rc = url_query_get(query, "username", &p->user, &ignored);
    if (!rc)
        rc = url_query_get(query, "signature", &p->signature, &p->has_signature);
    return rc ? rc
              : url_query_get(query, "signature_expiration", &p->expiration, &p->has_expiration);
}

/* A decimal, also a negative one: then it is over long ago. */
static bool is_expired(struct adit_view v, struct adit_err *err, int *rc)
{
    uint64_t seconds;
    *rc = 0;
    if (v.len > 1 && v.ptr[0] == '-')
        return true;
    if (adit_view_u64(v, INT64_MAX / NS_PER_S, &seconds)) {
        *rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid signature_expiration");
        return false;
    }
    return (int64_t)seconds < adit_clock_wall_ns() / NS_PER_S;
}

static int refuse(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "%s", message);
}

static int check_signature(const struct envd *e, const struct parameters *p, const char *operation,
                           struct adit_err *err)
{
    struct files_signed s = {adit_buf_view(&p->path), adit_view_str(operation),
                             adit_buf_view(&p->user), adit_view_str(e->access_token),
                             adit_buf_view(&p->expiration)};
    struct adit_buf expected;

    if (!p->has_signature)
        return refuse(err, "missing signature query parameter");
    adit_buf_init(&expected, 2 * ADIT_SHA256_LEN);
    int rc = files_sign(&s, &expected);
    bool is_right =
        !rc && adit_view_eq_secret(adit_buf_view(&expected), adit_buf_view(&p->signature));
    adit_buf_fini(&expected);
    if (rc)
        return adit_err_set(err, rc, "out of memory");
    if (!is_right)
        return refuse(err, "invalid signature");
    if (s.expiration.len && is_expired(s.expiration, err, &rc))
        return refuse(err, "signature is already expired");
    return rc;
}

int files_authorize(const struct envd *e, const struct http_head *head, struct adit_view query,
                    const char *operation, struct adit_err *err)
{
    struct adit_view header = http_head_get(head, "X-Access-Token");
    struct parameters p = {0};

    if (!e->access_token[0])
        return 0;
    if (header.len) {
        if (http_head_count(head, "X-Access-Token") == 1 &&
            adit_view_eq_secret(header, adit_view_str(e->access_token)))
            return 0;
        return refuse(err, "access token present in header but does not match");
    }
    adit_buf_init(&p.path, PARAMETER_CAP);
    adit_buf_init(&p.user, PARAMETER_CAP);
    adit_buf_init(&p.signature, PARAMETER_CAP);
    adit_buf_init(&p.expiration, PARAMETER_CAP);
    int rc = read_parameters(&p, query);
    rc = rc ? adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid query")
            : check_signature(e, &p, operation, err);
    adit_buf_fini(&p.path);
    adit_buf_fini(&p.user);
    adit_buf_fini(&p.signature);
    adit_buf_fini(&p.expiration);
    return rc;
}
