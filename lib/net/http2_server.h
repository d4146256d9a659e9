/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 server connections (RFC 9113), by nghttp2, for the handlers of an http_server.
 *
 * Theory of operation
 *
 * A server with conf.adopt_http2 = http2_server_adopt gives connections that begin with HTTP/2's
 * preface here; over TLS and without it alike. Each stream is an ordinary exchange of that server:
 * same handler, same functions, same counts and drain (http_server.h). What differs:
 *
 *   http_exchange_reset()         resets the stream (INTERNAL_ERROR); the connection goes on
 *   http_exchange_no_keepalive()  says nothing here
 *   http_exchange_pause()         opens no more window for the stream
 *   http_exchange_trailer()       is there
 *   101 (HTTP_FRAMING_RAW)        is 200 to an extended CONNECT (RFC 8441)
 *   head->minor                   is 1
 *
 * Timers are those of conf: header_ms for the preface and for each field section, body_ms for a
 * stream's body, idle_ms without a stream and for a tunnel that one side has closed. An answer
 * whose client opens no window for NET_STREAM_FLUSH_MS after its end is reset.
 *
 * Floods end the connection with ENHANCE_YOUR_CALM: streams that the client breaks off or breaks
 * (rapid reset), and frames that move nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty
 * DATA), each by a token bucket; DATA frames that move something earn the latter back. So does a
 * field section, trailers too, that grows beyond HTTP2_FIELDS_MAX.
 */
#ifndef ADIT_NET_HTTP2_SERVER_H
#define ADIT_NET_HTTP2_SERVER_H

#include "net/http_server.h"

/* Streams of a connection. While a server has conf.streams_busy of them, a connection that has the
 * second may have no more (REFUSED_STREAM): they are cheaper to open than to hold. */
#define HTTP2_STREAMS_MAX 256
#define HTTP2_STREAMS_FAIR 4
/* Bytes of a field section, counted as HTTP_HEAD_CAP is, behind which it is no mistake any more: a
 * few bytes of HPACK become megabytes. */
#define HTTP2_FIELDS_MAX (4u * HTTP_HEAD_CAP)
/* What a client may send before we take it: of one stream, of all together. */
#define HTTP2_STREAM_WINDOW (256u * 1024)
#define HTTP2_CONN_WINDOW (2u * 1024 * 1024)
/* Answer bytes that wait for window or socket: a stream is congested above the first, above the
 * second when all streams hold more than the third, until it is down to the second. */
#define HTTP2_STREAM_HIGH (128u * 1024)
#define HTTP2_STREAM_LOW (32u * 1024)
#define HTTP2_QUEUED_HIGH (1024u * 1024)
#define HTTP2_STREAM_QUEUE_MAX NET_STREAM_QUEUE_MAX
/* Streams broken by the client. 200 that a client gives up at once are fine. */
#define HTTP2_RESETS_BURST 500
#define HTTP2_RESETS_PER_S 50
/* Frames that move nothing; those that a DATA frame earns, and how many may be saved up. */
#define HTTP2_IDLE_FRAMES_BURST 1000
#define HTTP2_IDLE_FRAMES_PER_S 200
#define HTTP2_IDLE_FRAMES_PER_DATA 4
#define HTTP2_IDLE_FRAMES_SAVED 10000

/* For http_server_conf. */
void http2_server_adopt(struct http_server *s, struct net_stream *take_stream,
                        struct adit_view before, struct adit_view bytes);

#endif
