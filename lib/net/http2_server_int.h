/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What http2_server.c (connections), http2_session.c (frames), http2_stream.c (exchanges) and
 * http2_answer.c (what leaves) share.
 */
#ifndef ADIT_NET_HTTP2_SERVER_INT_H
#define ADIT_NET_HTTP2_SERVER_INT_H

#include <nghttp2/nghttp2.h>

#include "base/limit.h"
#include "net/http2_fields.h"
#include "net/http2_server.h"
#include "net/http_server_int.h"

/* Frames gathered before they go to the socket; larger DATA goes there from where it lies. */
#define HTTP2_BATCH (16u * 1024)
#define HTTP2_SMALL_DATA 2048u

/* What the connection's deadline waits for. */
enum http2_wait {
    HTTP2_WAIT_NOTHING,
    HTTP2_WAIT_FIRST,   /* the preface and a first frame */
    HTTP2_WAIT_FIELDS,  /* the end of a field section */
    HTTP2_WAIT_IDLE,    /* a stream */
    HTTP2_WAIT_STALLED, /* the client does not read: look now and then whether it is still there */
};

/*
 * One connection. owned by: its server, by way of @link; freed when it is dead and nothing runs in
 * it.
 *
 * @streams:    every stream, but those in @gone
 * @ready:      streams with something to tell their handler at the next turn
 * @gone:       streams that are over on both sides; freed when nothing runs
 * @out:        frames that wait for the socket
 * @queued:     answer bytes of all streams that are in no frame yet
 * @fields_id:  the stream whose field section has begun and not ended; 0: none
 * @fields_size: what it has grown to
 * @saved:      idle frames that DATA earned
 * @busy:       depth of calls that run in it
 * @is_broken:  it cannot go on; everybody is told at the next turn
 * @is_ending:  no new stream; close after the last
 */
struct http2_conn {
    struct http_link link;
    struct http_server *server; /* borrowed */
    struct net_stream *stream;
    nghttp2_session *session;
    struct net_deadline deadline;
    struct net_task turn;
    struct adit_list streams, ready, gone;
    size_t stream_cnt;
    struct http2_fields fields;
    size_t fields_size;
    char websocket_key[HTTP2_WEBSOCKET_KEY_CAP];
    struct adit_buf out;
    size_t queued;
    struct adit_limit resets, idle_frames;
    unsigned saved;
    enum http2_wait wait;
    unsigned busy;
    int32_t fields_id;
    bool has_begun, is_broken, is_ending, is_dead;
};

/*
 * One stream and its exchange. owned by: its connection.
 *
 * @node:          in the connection's @streams or @gone
 * @ready:         in the connection's @ready
 * @deadline:      for a body byte, or for the client to take the rest of the answer
 * @in:            body bytes that came while nobody took them
 * @out, @direct:  answer bytes in no frame yet; @direct (those of the call that runs) after @out
 * @is_open:       nghttp2 knows it
 * @is_deferred:   nghttp2 waits to be told of more answer bytes
 * @is_complete:   no answer bytes come behind those that are here
 * @end_sent:      the client has been sent all of the answer
 * @remote_ended:  the client has sent all; @end_told: and the handler knows
 * @is_congested:  on_drain is owed
 * @is_ours:       reset by us: not the client's doing
 */
struct http2_stream {
    struct http_exchange exchange;
    struct http2_conn *conn; /* borrowed */
    struct adit_list node, ready;
    struct net_deadline deadline;
    int32_t id;
    struct adit_buf in, out;
    struct adit_view direct;
    bool is_open, is_deferred, is_complete, end_sent, remote_ended, end_told, is_congested,
        owes_drain, is_ours;
};

static inline struct http2_stream *http2_stream_of(const struct http_exchange *x)
{
    return ADIT_CONTAINER_OF((uintptr_t)x, struct http2_stream, exchange);
}

/* ---- http2_server.c ---- */

/* Around everything that may end a stream or the connection. Leaving last sends and frees. */
void http2_server_enter(struct http2_conn *c);
void http2_server_leave(struct http2_conn *c);
/* Say GOAWAY with that code; the connection ends when it is said. */
void http2_server_end(struct http2_conn *c, uint32_t code);
/* Told at the next turn. */
void http2_server_break(struct http2_conn *c);
/* Give frames to the socket, as long as it takes them. */
void http2_server_pump(struct http2_conn *c);

/* ---- http2_session.c ---- */

/* Make @fields and @session, and say the server's settings. Errors: NO_MEMORY; what was made stays.
 */
ADIT_MUST_CHECK int http2_session_open(struct http2_conn *c);

/* ---- http2_stream.c ---- */

/* Return: NULL without memory. */
struct http2_stream *http2_stream_new(struct http2_conn *c, int32_t id);
/* Free one that is in @gone. */
void http2_stream_free(struct http2_stream *st);
/* The head came: give it to the handler, or refuse it. */
void http2_stream_request(struct http2_stream *st, bool is_end);
/* Body bytes came. */
void http2_stream_body(struct http2_stream *st, struct adit_view bytes);
/* The client has sent all. */
void http2_stream_ended(struct http2_stream *st);
/* The frame that ends the answer has left. */
void http2_stream_end_sent(struct http2_stream *st);
/* nghttp2 has forgotten it. */
void http2_stream_closed(struct http2_stream *st);
/* Tell the handler what it has not heard; only from a turn. */
void http2_stream_turn(struct http2_stream *st);
/* The connection ends. */
void http2_stream_fail(struct http2_stream *st, const struct adit_err *err);
/* Something changed that decides on its deadline. */
void http2_stream_update(struct http2_stream *st);
/* Have http2_stream_turn called. */
void http2_stream_wake(struct http2_stream *st);
/* The handler has it no longer. */
void http2_stream_over(struct http2_stream *st);
/* Reset it, by an error code of RFC 9113. */
void http2_stream_reset(struct http2_stream *st, uint32_t code);

/* ---- http2_answer.c ---- */

extern const struct http_carrier http2_answer_carrier;
void http2_answer_refuse(struct http2_stream *st, unsigned status, const char *message);
void http2_answer_continue(struct http2_stream *st);
/* nghttp2's callback: a DATA frame leaves. */
int http2_answer_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                           size_t len, nghttp2_data_source *source, void *user);

#endif
