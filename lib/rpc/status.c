/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where an error code becomes an HTTP status, a Connect code or an exit status. */
/*
 * Theory of operation
 *
 * What     One table, a row per error code; the Connect words that no row writes (out_of_range,
 *          data_loss) are read through a second, shorter one. A failure that is not in the table
 *          is answered as an internal one.
 * Trust    Words and statuses from a peer are hostile: an unknown one is ADIT_ERR_UNKNOWN.
 */
#include "rpc/status.h"

#include <sysexits.h>

struct status_row {
    int code;
    unsigned rest;
    const char *connect;
    unsigned connect_http;
    unsigned grpc;
    int exit;
};

#define EXIT_OTHER 1
#define EXIT_BAD_USAGE 2

static const struct status_row rows[] = {
    {ADIT_ERR_BAD_INPUT, 400, "invalid_argument", 400, 3, EXIT_BAD_USAGE},
    {ADIT_ERR_UNAUTHENTICATED, 401, "unauthenticated", 401, 16, EX_NOPERM},
    {ADIT_ERR_DENIED, 403, "permission_denied", 403, 7, EX_NOPERM},
    {ADIT_ERR_NOT_FOUND, 404, "not_found", 404, 5, EXIT_OTHER},
    {ADIT_ERR_EXISTS, 409, "already_exists", 409, 6, EX_CANTCREAT},
    {ADIT_ERR_LIMIT, 429, "resource_exhausted", 429, 8, EX_TEMPFAIL},
    {ADIT_ERR_NO_SPACE, 507, "resource_exhausted", 429, 8, EX_CANTCREAT},
    {ADIT_ERR_TIMEOUT, 504, "deadline_exceeded", 504, 4, EX_TEMPFAIL},
    {ADIT_ERR_PROTOCOL, 502, "internal", 500, 13, EX_PROTOCOL},
    {ADIT_ERR_CLOSED, 502, "unavailable", 503, 14, EX_UNAVAILABLE},
    {ADIT_ERR_NO_MEMORY, 503, "resource_exhausted", 429, 8, EX_TEMPFAIL},
    {ADIT_ERR_IO, 500, "internal", 500, 13, EXIT_OTHER},
    {ADIT_ERR_UNIMPLEMENTED, 501, "unimplemented", 501, 12, EXIT_OTHER},
    {ADIT_ERR_UNAVAILABLE, 503, "unavailable", 503, 14, EX_UNAVAILABLE},
    {ADIT_ERR_PRECONDITION, 400, "failed_precondition", 400, 9, EXIT_OTHER},
    {ADIT_ERR_CANCELED, 499, "canceled", 499, 1, EXIT_OTHER},
    {ADIT_ERR_CONFLICT, 409, "aborted", 409, 10, EXIT_OTHER},
    {ADIT_ERR_UNKNOWN, 500, "unknown", 500, 2, EXIT_OTHER},
    {ADIT_ERR_BUG, 500, "internal", 500, 13, EXIT_OTHER},
};

#define ROW_CNT (sizeof(rows) / sizeof(rows[0]))

static const struct status_row *row_of(int code)
{
    for (size_t i = 0; i < ROW_CNT; i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return &rows[ROW_CNT - 1];
}

unsigned rpc_status_http(int code)
{
    return code == 0 ? 200 : row_of(code)->rest;
}

const char *rpc_status_connect(int code)
{
    return row_of(code)->connect;
}

unsigned rpc_status_connect_http(int code)
{
    return row_of(code)->connect_http;
}

unsigned rpc_status_grpc(int code)
{
    return code == 0 ? 0 : row_of(code)->grpc;
}

int rpc_status_from_connect(struct adit_view word)
{
    if (adit_view_eq_str(word, "internal"))
        return ADIT_ERR_IO; /* several rows write it; this one says the least about whose fault */
    if (adit_view_eq_str(word, "out_of_range"))
        return ADIT_ERR_BAD_INPUT;
    if (adit_view_eq_str(word, "data_loss"))
        return ADIT_ERR_IO;
    if (adit_view_eq_str(word, "unavailable"))
        return ADIT_ERR_UNAVAILABLE;
    for (size_t i = 0; i < ROW_CNT; i++) {
        if (adit_view_eq_str(word, rows[i].connect))
            return rows[i].code;
    }
    return ADIT_ERR_UNKNOWN;
}

int rpc_status_from_http(unsigned status)
{
    switch (status) {
    case 400:
        return ADIT_ERR_BAD_INPUT;
    case 401:
        return ADIT_ERR_UNAUTHENTICATED;
    case 403:
        return ADIT_ERR_DENIED;
    case 404:
        return ADIT_ERR_NOT_FOUND;
    case 409:
        return ADIT_ERR_CONFLICT;
    case 413:
    case 429:
        return ADIT_ERR_LIMIT;
    case 499:
        return ADIT_ERR_CANCELED;
    case 500:
        return ADIT_ERR_IO;
    case 501:
    case 505:
        return ADIT_ERR_UNIMPLEMENTED;
    case 502:
    case 503:
        return ADIT_ERR_UNAVAILABLE;
    case 504:
        return ADIT_ERR_TIMEOUT;
    case 507:
        return ADIT_ERR_NO_SPACE;
    default:
        return ADIT_ERR_UNKNOWN;
    }
}

int rpc_status_exit(int code)
{
    return code == 0 ? 0 : row_of(code)->exit;
}
