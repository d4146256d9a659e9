/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What http_server.c (connections, requests), http_exchange.c (the handler's door), http_answer.c
 * (answers on HTTP/1) and the HTTP/2 files share.
 */
#ifndef ADIT_NET_HTTP_SERVER_INT_H
#define ADIT_NET_HTTP_SERVER_INT_H

#include "net/http_server.h"
#include "net/http_write.h"

/* Headers of one answer: what a peer's reply may hold, and some of our own. */
#define HTTP_EXCHANGE_HEADERS_CAP (HTTP_HEAD_CAP + 4096u)
#define HTTP_SERVER_DATE_CAP 40
#define HTTP_REFUSE_HEADERS_CAP 4096u
#define HTTP_REFUSE_BODY_CAP (16u * 1024)

/*
 * What a server does with a connection of any protocol. Embedded in it.
 *
 * @drain: no new request: close when idle
 * @fail:  abort what runs, close at once
 */
struct http_link {
    struct adit_list node;
    const struct http_link_ops {
        void (*drain)(struct http_link *link);
        void (*fail)(struct http_link *link, const struct adit_err *err);
    } * ops;
};

/*
 * @links:         all connections
 * @stream_cnt:    of HTTP/2, those whose answer waits for its client too
 * @head:          scratch in which a head is put together, empty between calls
 * @spare_headers: storage that exchanges take and give back; keeps malloc off the common path
 * @date:          the Date header's value for the second @date_s
 */
struct http_server {
    struct net_loop *loop; /* borrowed */
    struct http_server_conf conf;
    struct adit_list links;
    size_t conn_cnt, exchange_cnt, stream_cnt;
    struct adit_buf head, spare_headers;
    char date[HTTP_SERVER_DATE_CAP];
    int64_t date_s;
    bool is_draining;
    void (*on_drained)(void *owner);
    struct net_deadline grace;
    struct net_task drained;
};

enum http_answer {
    HTTP_ANSWER_NONE,
    HTTP_ANSWER_BEGUN, /* begun, its head not sent */
    HTTP_ANSWER_SENT,  /* the head is sent */
    HTTP_ANSWER_ENDED, /* complete (raw: our side is half-closed) */
};

/* The protocol under an exchange. Each member does what the function http_exchange_… says. */
struct http_carrier {
    void (*pause)(struct http_exchange *x);
    void (*resume)(struct http_exchange *x);
    void (*begin)(struct http_exchange *x, unsigned status, enum http_framing framing,
                  uint64_t length);
    int (*write)(struct http_exchange *x, struct adit_view bytes);
    bool (*is_congested)(const struct http_exchange *x);
    int (*trailer)(struct http_exchange *x, struct adit_view name,
                   struct adit_view value); /* NULL: it has none */
    void (*end)(struct http_exchange *x);
    void (*reply)(struct http_exchange *x, unsigned status, struct adit_view body);
    void (*reset)(struct http_exchange *x);
};

/*
 * Embedded in its connection (HTTP/1) or stream (HTTP/2), which sets the first three members.
 *
 * @is_live:      the handler holds it
 * @no_body:      the answer carries no body bytes (HEAD, 204, 304), whatever is written
 * @left:         bytes still to come of an answer of known length
 * @note, @verdict: for conf.on_over
 * @sent_len:     bytes of body given to be sent
 */
struct http_exchange {
    const struct http_carrier *carrier;
    struct http_server *server;          /* borrowed */
    struct net_stream *stream;           /* borrowed */
    const struct http_exchange_ops *ops; /* never NULL */
    void *user;
    void *note;
    const char *verdict;
    struct adit_buf headers;
    uint64_t left, sent_len;
    enum http_method method;
    unsigned minor, status;
    enum http_framing framing;
    enum http_answer answer;
    bool is_live, is_paused, keep_alive, expects_continue, asked_upgrade, no_body;
};

enum http_conn_state {
    HTTP_CONN_HEAD,   /* between requests, or in a head */
    HTTP_CONN_BODY,   /* a head was given to the handler, its body's end was not seen */
    HTTP_CONN_ANSWER, /* the request is complete, the answer is not */
    HTTP_CONN_RAW,
    HTTP_CONN_DEAD, /* closed; freed when nothing runs in it */
};

/* What the connection's deadline waits for. */
enum http_conn_wait {
    HTTP_WAIT_NOTHING,
    HTTP_WAIT_FIRST,
    HTTP_WAIT_IDLE,
    HTTP_WAIT_HEAD,
    HTTP_WAIT_BODY,
    HTTP_WAIT_RAW_END,
    HTTP_WAIT_STALLED, /* reading is off: look now and then whether the client is still there */
};

/*
 * @magic_len:  bytes that came and are those of HTTP/2's preface; MAGIC_NOT: others came
 * @held:       input that came while nobody could take it; reading is off while it is not empty
 * @turn:       work for the next turn: a pending head, held input, a broken connection
 * @busy:       depth of calls that run in it
 * @is_broken:  it cannot be written to any more, the handler is told at the next turn
 * @is_reset:   broken by us: close with RST
 * @rest_len:   bytes of the request's body that came after the answer's end
 * @has_moved:  raw bytes went either way since the deadline was armed
 */
struct http_conn {
    struct http_link link;
    struct http_server *server; /* borrowed */
    struct net_stream *stream;
    struct http_parser *parser;
    struct net_deadline deadline;
    struct net_task turn;
    struct adit_buf held;
    enum http_conn_state state;
    enum http_conn_wait wait;
    unsigned busy, magic_len;
    size_t rest_len;
    bool has_body, has_served, peer_ended, is_broken, is_reset, has_moved;
    struct http_exchange exchange;
};

static inline struct http_conn *http_conn_of(const struct http_exchange *x)
{
    return ADIT_CONTAINER_OF((uintptr_t)x, struct http_conn, exchange);
}

/* The handler ended the exchange: next request, or close. */
void http_server_answered(struct http_conn *c);
/* The handler broke the exchange: RST. */
void http_server_reset(struct http_conn *c);
/* Something changed that decides on reading, deadline and held input. */
void http_server_update(struct http_conn *c);
/* The cached Date value. */
const char *http_server_date(struct http_server *s);

/* The answer to a request that cannot be served: header lines and body, by conf.on_refuse or plain
 * text. The caller ends the buffers. */
void http_server_compose_refusal(struct http_server *s, unsigned status, const char *message,
                                 struct adit_buf *headers, struct adit_buf *body);
/* Enter and leave the server's list and count. */
void http_server_link(struct http_server *s, struct http_link *link);
void http_server_unlink(struct http_server *s, struct http_link *link);

/* Begin an exchange: carrier, server and stream are set. */
void http_exchange_init(struct http_exchange *x, const struct http_head *head);
/* Give storage back. */
void http_exchange_fini(struct http_exchange *x);
/* The handler has it no longer. */
void http_exchange_over(struct http_exchange *x);

/* The carrier of HTTP/1. */
extern const struct http_carrier http_answer_carrier;
/* Send the head of an answer that was begun, if it has not left yet. */
void http_answer_send_pending(struct http_exchange *x);
/* Put a whole answer of the server's own together and send it; the connection will be closed. */
void http_answer_send_refusal(struct http_conn *c, unsigned status, struct adit_view header_lines,
                              struct adit_view body);
void http_answer_send_continue(struct http_exchange *x);

#endif
