/* SPDX-License-Identifier: Apache-2.0 */
/* The network options of a sandbox: of a create request, and of an update. No I/O. */
#ifndef BROKER_API_NETWORK_CONFIG_H
#define BROKER_API_NETWORK_CONFIG_H

#include "broker/node/record.h"

#define NETWORK_CONFIG_ENTRIES_MAX 1024 /* of allowOut, of denyOut */
#define NETWORK_CONFIG_ENTRY_MAX 253    /* of a domain */
#define NETWORK_CONFIG_PORTS_MAX 64
#define NETWORK_CONFIG_RULES_MAX 10
#define NETWORK_CONFIG_RULE_HOST_MAX 128
#define NETWORK_CONFIG_HEADERS_MAX 20
#define NETWORK_CONFIG_HEADER_NAME_MAX 64
#define NETWORK_CONFIG_HEADER_VALUE_MAX 2048
#define NETWORK_CONFIG_PROXY_MAX 255 /* of the address, the user name, the password */
/* All of it as JSON text. */
#define NETWORK_CONFIG_CAP (64u * 1024)
/* What "everything" is called in denyOut. */
#define NETWORK_CONFIG_ALL_TRAFFIC "0.0.0.0/0"

/*
 * @doc: what is kept, and shown in details (owned)
 */
struct network_config {
    bool is_private;
    char mask_host[RECORD_HOST_CAP];
    json_t *doc;
};

/* The network member of a create request. Errors: BAD_INPUT in the contract's words, NO_MEMORY;
 * then nothing is owned by @out. */
ADIT_MUST_CHECK int network_config_parse(const json_t *network, struct network_config *out,
                                         struct adit_err *err);
/*
 * The body of an update: it replaces all rules for traffic to the outside; what it leaves out is
 * cleared. What is about traffic from the outside stays as in @current (may be NULL). *doc: a new
 * reference. Errors: as above.
 */
ADIT_MUST_CHECK int network_config_update(struct adit_view body, const json_t *current,
                                          bool is_private, json_t **doc,
                                          enum record_internet *internet, struct adit_err *err);
/* A document as clients may see it: without the proxy's password. Return: a new reference, or NULL
 * without memory. */
json_t *network_config_shown(const json_t *doc);

#endif
