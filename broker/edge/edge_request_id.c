/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request ids.
 *
 * Theory of operation
 *
 * What: the id that a request carries through the broker's log, the sandbox's log and the answer. A
 * client may bring its own, so that its log fits ours; it is copied into log lines and heads, hence
 * the short alphabet. An own id is no secret: one random word a relay loop and a count.
 */
#include "broker/edge/edge_request_id.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/rand.h"

void edge_request_id_source_init(struct edge_request_id_source *s)
{
    s->word = adit_rand_u64();
    s->count = 0;
}

static bool is_sane(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return v.len > 0 && v.len <= EDGE_REQUEST_ID_LEN_MAX;
}

void edge_request_id_take(struct edge_request_id_source *s, const struct http_head *head,
                          char out[EDGE_REQUEST_ID_CAP])
{
    struct adit_view said = http_head_get(head, EDGE_REQUEST_ID_HEADER);

    if (is_sane(said) && http_head_count(head, EDGE_REQUEST_ID_HEADER) == 1) {
        memcpy(out, said.ptr, said.len);
        out[said.len] = '\0';
    } else {
        (void)snprintf(out, EDGE_REQUEST_ID_CAP, "%016" PRIx64 "-%" PRIx64, s->word, ++s->count);
    }
}

void edge_request_id_show(struct http_exchange *x, const char *id)
{
    int rc = http_exchange_header_str(x, EDGE_REQUEST_ID_HEADER, id);

    if (rc == 0)
        rc = http_exchange_header_str(x, EDGE_REQUEST_ID_TRACE_HEADER, id);
    (void)rc; /* the answer is right without them */
}
