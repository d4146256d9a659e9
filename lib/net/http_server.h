/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server connections on the loop.
 *
 * Theory of operation
 *
 * A connection parses one request at a time (a pipelined next one waits, bounded) and gives it to
 * the server's handler as an *exchange*. The handler, inside on_request, looks at the head (which
 * is valid only there), sets ops and user data on the exchange, and answers now or later.
 *
 *   on_request → [on_body]* → on_end          the request's side
 *   reply, or begin → write* → end            the answer's side; may begin at any time
 *   on_abort                                  the client is gone or broke the protocol
 *
 * Exactly one of two things ends an exchange: the handler's http_exchange_end()/_reply()/_reset(),
 * or on_abort. After either the pointer is dead for the handler: it hears nothing more. (If the
 * answer ended before the request's body did, the rest is discarded; http_exchange_reply() closes
 * the connection after that, a streamed answer keeps it.) A client that closes its sending side
 * while an exchange runs counts as gone, as with most servers.
 *
 * Raw (HTTP_FRAMING_RAW) is the one exception: http_exchange_end() half-closes, and the exchange
 * goes on until the client has half-closed as well. The last call is then on_end if the client is
 * the second to close, http_exchange_end() if the handler is, or on_abort. on_end has come once
 * before raw began, unless raw began inside on_request: that was the end of the request's (empty)
 * body.
 *
 * None of the functions below calls back the handler.
 *
 * Errors of parsing are answered by the server itself through conf.on_refuse (status, message).
 * "Expect: 100-continue" is answered by the server when the handler first resumes or keeps reading
 * the body (never when it already answered).
 *
 * Timers: header_ms from the first byte of a head to its end (answered 408), and from accept to the
 * first byte (closed); body_ms without a body byte while we are willing to read and have not begun
 * to answer (408); idle_ms between requests (closed), and of a half-closed raw connection without a
 * byte (reset). While reading is off (paused, or a pipelined request waits) the client's going is
 * noticed within HTTP_SERVER_LOOK_MS.
 *
 * Back-pressure: on_body's source is stopped by http_exchange_pause(); a writer checks
 * http_exchange_is_congested() and waits for on_drain.
 *
 * Keep-alive, Content-Length, Transfer-Encoding, Connection and Date are the server's business; the
 * handler never writes them. HEAD replies carry the headers and no body.
 */
#ifndef ADIT_NET_HTTP_SERVER_H
#define ADIT_NET_HTTP_SERVER_H

#include "net/http_msg.h"
#include "net/stream.h"

#define HTTP_SERVER_LOOK_MS 1000
/* Of a request's body after the answer's end; a connection with more is closed. */
#define HTTP_SERVER_REST_MAX (64u * 1024)

struct http_server;
struct http_exchange;

struct http_exchange_ops {
    void (*on_body)(struct http_exchange *x, struct adit_view bytes);
    void (*on_end)(struct http_exchange *x);
    void (*on_drain)(struct http_exchange *x);
    void (*on_abort)(struct http_exchange *x, const struct adit_err *err);
};

struct http_server_conf {
    uint64_t header_ms, body_ms, idle_ms; /* 0: none */
    size_t connections_max; /* beyond it connections are accepted and closed; 0: none */
    size_t streams_busy;    /* HTTP/2: see HTTP2_STREAMS_FAIR; 0: never busy */
    void *owner;            /* for http_server_owner() */
    void (*on_request)(struct http_exchange *x, const struct http_head *head);
    /* Answer a request that could not be parsed: append headers and body bytes to @out_headers
     * ("Name: value\r\n" lines) and @out_body. NULL: text/plain with the message. */
    void (*on_refuse)(struct http_server *s, unsigned status, const char *message,
                      struct adit_buf *out_headers, struct adit_buf *out_body);
    /* An exchange is over, whoever ended it: once for each on_request, perhaps inside a function
     * of the handler's. Only its note and outcome may be asked for. */
    void (*on_over)(struct http_exchange *x);
    /* Takes over a connection that begins as HTTP/2 does (http2_server_adopt): the bytes of
     * @before, then those of @bytes, have come. NULL: HTTP/1 alone is served. */
    void (*adopt_http2)(struct http_server *s, struct net_stream *take_stream,
                        struct adit_view before, struct adit_view bytes);
};

ADIT_MUST_CHECK int http_server_new(struct net_loop *l, const struct http_server_conf *conf,
                                    struct http_server **out, struct adit_err *err);
void *http_server_owner(const struct http_server *s);
/* Take over a connected stream; @already are bytes that were read from it. The stream's ops are
 * replaced. On failure the stream is closed. */
void http_server_adopt(struct http_server *s, struct net_stream *take_stream,
                       struct adit_view already);
/* The same for an accepted descriptor; usable as listener_accept_fn with the server as owner. */
void http_server_accept(void *server, int take_fd);
/* Connections now open / exchanges now running. */
size_t http_server_connection_cnt(const struct http_server *s);
size_t http_server_exchange_cnt(const struct http_server *s);
/* Orderly end: idle connections close, running exchanges get @grace_ms, then resets; on_drained is
 * called once, at a later loop turn, and after it the server is freed. Close its listeners before.
 */
void http_server_drain(struct http_server *s, uint64_t grace_ms, void (*on_drained)(void *owner));

/* ---- exchanges ---- */

/* Called inside on_request, or whenever the exchange changes hands. @ops is kept by reference; NULL
 * and NULL members hear nothing. */
void http_exchange_set_ops(struct http_exchange *x, const struct http_exchange_ops *ops,
                           void *user);
void *http_exchange_user(const struct http_exchange *x);
struct http_server *http_exchange_server(const struct http_exchange *x);
struct net_stream *http_exchange_stream(const struct http_exchange *x);

/* For conf.on_over: @note belongs to whoever keeps a log, as the user data to the handler. */
void http_exchange_set_note(struct http_exchange *x, void *note);
void *http_exchange_note(const struct http_exchange *x);
/* The handler's own word for how it went, static text. */
void http_exchange_set_verdict(struct http_exchange *x, const char *verdict);

/*
 * @status:   0: no answer was begun
 * @is_whole: the answer was complete when it ended
 * @sent_len: bytes of body
 * @verdict:  may be NULL
 */
struct http_outcome {
    unsigned status;
    bool is_whole;
    uint64_t sent_len;
    const char *verdict;
};
struct http_outcome http_exchange_outcome(const struct http_exchange *x);

/* Stop / go on delivering body bytes. An exchange begins unpaused. */
void http_exchange_pause(struct http_exchange *x);
void http_exchange_resume(struct http_exchange *x);

/* Headers of a reply, gathered before it is sent. Errors as http_write_header. */
ADIT_MUST_CHECK int http_exchange_header(struct http_exchange *x, struct adit_view name,
                                         struct adit_view value);
ADIT_MUST_CHECK int http_exchange_header_str(struct http_exchange *x, const char *name,
                                             const char *value);

/* A whole answer in one write; ends the exchange. An answer that can no longer be sent is dropped.
 */
void http_exchange_reply(struct http_exchange *x, unsigned status, struct adit_view body);

enum http_framing {
    HTTP_FRAMING_LENGTH,  /* exactly @length bytes follow; one byte more or less resets */
    HTTP_FRAMING_CHUNKED, /* chunked to a 1.1 client, until close to a 1.0 client */
    HTTP_FRAMING_NONE,    /* a reply that has no body (204, 304, the answer to HEAD) */
    HTTP_FRAMING_RAW, /* 101: both directions become raw bytes: on_body/write carry them, on_end is
                         the client's half-close, http_exchange_end half-closes ours and the
                         exchange is over when both are closed */
};

/* Begin a streamed answer. The head leaves with the first bytes, or at the next loop turn. */
void http_exchange_begin(struct http_exchange *x, unsigned status, enum http_framing framing,
                         uint64_t length);
/* Send body bytes; never copies what the socket takes at once. Errors: ADIT_ERR_CLOSED: on_abort
 * will come (or came); ADIT_ERR_LIMIT: back-pressure ignored. */
ADIT_MUST_CHECK int http_exchange_write(struct http_exchange *x, struct adit_view bytes);
bool http_exchange_is_congested(const struct http_exchange *x);
/* Fields behind the body of a begun, chunked answer, before its end. HTTP/2 has them; HTTP/1 as it
 * is spoken here has not: ADIT_ERR_UNIMPLEMENTED, and nothing is sent. */
bool http_exchange_has_trailers(const struct http_exchange *x);
ADIT_MUST_CHECK int http_exchange_trailer(struct http_exchange *x, struct adit_view name,
                                          struct adit_view value);
/* The answer is complete. Without a begin: a bug. */
void http_exchange_end(struct http_exchange *x);
/* Break the connection (RST), so that the client cannot take it for a clean end. */
void http_exchange_reset(struct http_exchange *x);
/* Close the connection after this exchange. Says nothing once the answer's head has left: the
 * client was told that the connection stays, and may be using it. */
void http_exchange_no_keepalive(struct http_exchange *x);

#endif
