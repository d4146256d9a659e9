/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of create, connect, resume, timeout and refresh requests, checked. No I/O. */
#ifndef BROKER_API_CREATE_REQUEST_H
#define BROKER_API_CREATE_REQUEST_H

#include "broker/node/record.h"
#include "broker/vmm/template.h"

#define CREATE_REQUEST_REF_CAP 256
#define CREATE_REQUEST_ENV_MAX 1024 /* as envd takes */
#define CREATE_REQUEST_ENV_CAP (128u * 1024)
#define CREATE_REQUEST_TIMEOUT_V1_S 15
#define CREATE_REQUEST_TIMEOUT_V2_S 300
#define CREATE_REQUEST_REFRESH_S 15

/*
 * @template_ref: lower-cased, trimmed
 * @metadata, @env_vars, @network: owned; NULL when absent
 */
struct create_request {
    char template_ref[CREATE_REQUEST_REF_CAP];
    uint64_t timeout_ms;
    char isolation[TEMPLATE_ISOLATION_CAP]; /* "": none was asked for */
    bool secure, is_private;
    enum record_internet internet;
    char mask_host[RECORD_HOST_CAP];
    json_t *metadata, *env_vars, *network;
};

/*
 * @is_v2: always secured, and another default timeout.
 * Errors: BAD_INPUT (400), UNIMPLEMENTED (501: an option of a later feature), NO_MEMORY; then
 * nothing is owned by @out.
 */
ADIT_MUST_CHECK int create_request_parse(struct adit_view body, bool is_v2, uint64_t max_timeout_ms,
                                         struct create_request *out, struct adit_err *err);
void create_request_fini(struct create_request *r);

/* A word for what is to keep the sandbox apart: "container", "gvisor", "vm". Errors: BAD_INPUT. */
ADIT_MUST_CHECK int create_request_isolation(struct adit_view text,
                                             char out[TEMPLATE_ISOLATION_CAP],
                                             struct adit_err *err);

/*
 * {"timeout": s, "memory": bool} of connect and resume. @default_s: when there is no timeout; 0: it
 * is required. Errors: BAD_INPUT, NO_MEMORY.
 */
ADIT_MUST_CHECK int create_request_parse_connect(struct adit_view body, uint64_t default_s,
                                                 uint64_t max_timeout_ms, uint64_t *timeout_ms,
                                                 struct adit_err *err);
/* {"timeout": s}; below zero is zero, above the maximum is the maximum. */
ADIT_MUST_CHECK int create_request_parse_timeout(struct adit_view body, uint64_t max_timeout_ms,
                                                 uint64_t *timeout_ms, struct adit_err *err);
/* {"duration": s}, 0…3600, at least CREATE_REQUEST_REFRESH_S. */
ADIT_MUST_CHECK int create_request_parse_refresh(struct adit_view body, uint64_t *duration_ms,
                                                 struct adit_err *err);

/* A template reference: [namespace/]name[:tag], each of [a-z0-9-_] (tags also "."), lower-cased and
 * trimmed into @out. Errors: BAD_INPUT "Invalid template reference: …". */
ADIT_MUST_CHECK int create_request_ref(struct adit_view text, char out[CREATE_REQUEST_REF_CAP],
                                       struct adit_err *err);

#endif
