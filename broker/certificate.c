/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's certificate and its renewal.
 *
 * Theory of operation
 *
 *   files change ──> settle (CERTIFICATE_SETTLE_MS without another change) ──> load
 *   SIGHUP ───────────────────────────────────────────────────────────────────> load
 *   load ── good ──> on_changed: new connections get it
 *      └─── bad ───> logged; the pair before stays, the next change or SIGHUP tries again
 *
 * What: libuv looks at both files on its thread pool every CERTIFICATE_LOOK_MS. That sees a file
 * that was replaced, also behind a symbolic link, which watching a directory does not. Reading the
 * two small files blocks the loop, once a renewal.
 *
 * The broker reads as itself: files that only root can read serve at the start of a broker that
 * gives its privileges up, and cannot be loaded anew after it; the log says so then.
 *
 * Ownership: frees itself when the last of its handles is closed.
 */
#include "broker/certificate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define WATCH_CNT 2

struct certificate {
    struct certificate_conf conf;
    struct tls_context *tls;
    uv_fs_poll_t watches[WATCH_CNT];
    size_t open_cnt;
    struct net_deadline settled;
};

/* ---- loading ---- */

/* What works, but not for long or not for everybody. */
static void warn(const struct certificate *c)
{
    int64_t left_s = tls_context_expires_in_s(c->tls);
    char host[300];

    if (left_s < CERTIFICATE_SOON_S)
        adit_log(ADIT_LOG_WARN, left_s < 0 ? "certificate_expired" : "certificate_expires_soon",
                 LOG_S("file", c->conf.files.cert_file), LOG_D("days", left_s / 86400));
    (void)snprintf(host, sizeof(host), "49983-sandbox.%s", c->conf.domain);
    if (!tls_context_covers(c->tls, host))
        adit_log(ADIT_LOG_WARN, "certificate_lacks_sandbox_hosts",
                 LOG_S("file", c->conf.files.cert_file),
                 LOG_S("needs_wildcard_of", c->conf.domain));
}

static int load(struct certificate *c, struct adit_err *err)
{
    struct tls_context *tls;
    int rc = tls_context_load(&c->conf.files, &tls, err);

    if (rc)
        return rc;
    tls_context_unref(c->tls);
    c->tls = tls;
    warn(c);
    return 0;
}

void certificate_reload(struct certificate *c)
{
    struct adit_err err = ADIT_ERR_INIT;

    net_deadline_cancel(&c->settled);
    if (load(c, &err)) {
        adit_log(ADIT_LOG_ERROR, "certificate_not_loaded", LOG_ERR(&err),
                 LOG_S("in_use", "the one before"));
        return;
    }
    adit_log(ADIT_LOG_INFO, "certificate_loaded", LOG_S("file", c->conf.files.cert_file),
             LOG_D("days", tls_context_expires_in_s(c->tls) / 86400));
    c->conf.on_changed(c->conf.owner, c->tls);
}

struct tls_context *certificate_tls(const struct certificate *c)
{
    return c->tls;
}

/* ---- watching ---- */

static void on_settled(struct net_deadline *d)
{
    certificate_reload(ADIT_CONTAINER_OF(d, struct certificate, settled));
}

static void on_changed(uv_fs_poll_t *watch, int status, const uv_stat_t *before,
                       const uv_stat_t *now)
{
    struct certificate *c = watch->data;

    (void)status; /* loading finds out what is wrong */
    (void)before;
    (void)now;
    net_deadline_arm(&c->settled, CERTIFICATE_SETTLE_MS);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct certificate *c = handle->data;

    if (--c->open_cnt)
        return;
    tls_context_unref(c->tls);
    free(c);
}

int certificate_watch(struct certificate *c, struct adit_err *err)
{
    if (!c)
        return 0;
    const char *files[WATCH_CNT] = {c->conf.files.cert_file, c->conf.files.key_file};

    for (size_t i = 0; i < WATCH_CNT; i++) {
        (void)uv_fs_poll_init(c->conf.loop->uv, &c->watches[i]); /* cannot fail */
        c->watches[i].data = c;
        c->open_cnt++;
        int rc = uv_fs_poll_start(&c->watches[i], on_changed, files[i], CERTIFICATE_LOOK_MS);
        if (rc < 0)
            return adit_err_sys(err, -rc, "watch %s", files[i]);
    }
    return 0;
}

int certificate_open(const struct certificate_conf *conf, struct certificate **out,
                     struct adit_err *err)
{
    struct certificate *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the certificate");
    c->conf = *conf;
    net_deadline_init(&c->settled, conf->loop, on_settled);
    rc = load(c, err);
    if (rc) {
        free(c);
        return adit_err_wrap(err, "TLS (\"broker dev-cert\" makes a certificate for a try)");
    }
    *out = c;
    return 0;
}

void certificate_close(struct certificate *c)
{
    if (!c)
        return;
    net_deadline_cancel(&c->settled);
    for (size_t i = c->open_cnt; i-- > 0;)
        uv_close((uv_handle_t *)&c->watches[i], on_watch_closed);
}
