/* SPDX-License-Identifier: Apache-2.0 */
/* What a client needs to know, as shell lines in "<state_dir>/client.env"; and the first API key.
 */
#ifndef BROKER_CLIENT_ENV_H
#define BROKER_CLIENT_ENV_H

#include "base/sha256.h"
#include "broker/scheduler_client.h"

#define CLIENT_ENV_FILE "client.env"
#define CLIENT_ENV_CAP 4096
#define CLIENT_ENV_KEY_CAP 160
#define CLIENT_ENV_URL_CAP 300
/* The name of the authority's certificate that clients are told to trust, beside the broker's. */
#define CLIENT_ENV_CA "ca.crt"

struct client_env;

/* Where clients find the broker. @is_domain: by the domain alone, in https on the usual port. */
struct client_env_address {
    char api_url[CLIENT_ENV_URL_CAP], sandbox_url[CLIENT_ENV_URL_CAP];
    bool is_domain;
};

/* All borrowed until the end of the program. @tls_cert: the broker's certificate, or "". */
struct client_env_conf {
    struct scheduler_client *client;
    const char *state_dir, *domain, *tls_cert;
    const struct client_env_address *address;
    const char *isolation;
};

ADIT_MUST_CHECK int client_env_new(const struct client_env_conf *conf, struct client_env **out,
                                   struct adit_err *err);
/* No call may run. */
void client_env_free(struct client_env *e);
/*
 * The scheduler can be asked now: see that the file holds a key that it knows (making one
 * otherwise) and this broker's address, and print it with an example. Does nothing the second time.
 */
void client_env_on_online(struct client_env *e);
/* Print the file, for a shell to evaluate. Errors: NOT_FOUND, IO…; PRECONDITION: it is not plain.
 */
ADIT_MUST_CHECK int client_env_print(const char *state_dir, struct adit_err *err);
/* Does a shell that evaluates @text set (and unset) the client's variables, and do nothing else? */
bool client_env_is_plain(struct adit_view text);
/* The value of E2B_API_KEY in the text of the file. Errors: NOT_FOUND. */
ADIT_MUST_CHECK int client_env_find_key(struct adit_view text, char key[CLIENT_ENV_KEY_CAP]);
/* For a listening address and its bound port: "http://127.0.0.1:3000", of a wildcard the loopback;
 * with TLS under a domain other than "localhost" names of that domain, which its certificate has.
 */
void client_env_address(const char *listen, uint16_t port, const char *domain,
                        struct client_env_address *out);

#endif
