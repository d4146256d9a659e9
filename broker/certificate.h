/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's certificate: loaded at the start, loaded anew when its files change or when asked.
 *
 * On the control loop's thread. A pair that does not load never replaces one that did.
 */
#ifndef BROKER_CERTIFICATE_H
#define BROKER_CERTIFICATE_H

#include "net/net_loop.h"
#include "net/tls.h"

/* How often the files are looked at, and how long they must be left alone before they are read: a
 * certificate and its key are replaced one after the other. */
#define CERTIFICATE_LOOK_MS 2000
#define CERTIFICATE_SETTLE_MS 500
/* A certificate that ends sooner is warned of. */
#define CERTIFICATE_SOON_S (14 * 86400)

struct certificate;

/* All borrowed until certificate_close(). @on_changed: for connections from now on. */
struct certificate_conf {
    struct net_loop *loop;
    struct tls_context_conf files;
    const char *domain;
    void (*on_changed)(void *owner, struct tls_context *tls);
    void *owner;
};

/* Loads the pair; before privileges are given up, and before @conf->loop runs. Errors: as
 * tls_context_load(), with what to do. */
ADIT_MUST_CHECK int certificate_open(const struct certificate_conf *conf, struct certificate **out,
                                     struct adit_err *err);
/* Begin to watch the files, which needs the loop. NULL is fine. On failure the program must end. */
ADIT_MUST_CHECK int certificate_watch(struct certificate *c, struct adit_err *err);
/* The pair in use; lives until the next change. */
struct tls_context *certificate_tls(const struct certificate *c);
/* Read the files now. A failure is logged. */
void certificate_reload(struct certificate *c);
/* Stops; frees itself later. NULL is fine. */
void certificate_close(struct certificate *c);

#endif
