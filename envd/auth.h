/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call what: the sandbox's access token. No I/O. */
#ifndef ENVD_AUTH_H
#define ENVD_AUTH_H

#include "envd/envd.h"

#define AUTH_HEADER "X-Access-Token"
#define AUTH_REFUSAL                                                                               \
    "unauthorized access, please provide a valid access token or method signing if supported"

enum auth_class {
    AUTH_TOKEN, /* the token, if the sandbox has one. Also for whatever has no row. */
    AUTH_OWN,   /* the handler has a rule of its own and applies it itself */
    AUTH_OPEN,  /* everybody */
};

/* May this request go on to a handler of that class? */
bool auth_allows(const struct envd *e, enum auth_class class, const struct http_head *head);

#endif
