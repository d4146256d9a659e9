/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected byte stream on the loop: TCP, Unix or AF_VSOCK, behind one interface.
 *
 * Theory of operation
 *
 * Writing tries the socket at once (one writev); only what the socket did not take is copied to the
 * stream's own queue. Once more than NET_STREAM_HIGH bytes are queued net_stream_is_congested() is
 * true and the owner must stop its source; it stays true until the queue is down to NET_STREAM_LOW,
 * which on_drain tells. Reading uses the loop's scratch buffer: the bytes given to on_read are gone
 * after it returns, and on_read is never entered while another on_read of the loop runs.
 *
 * Ownership: a stream is heap memory of its own. Its owner calls net_stream_close(), _reset() or
 * _close_gracefully() exactly once and hears nothing afterwards; the memory is freed by the last
 * libuv close callback. The owner may close it inside any callback. Ops may be swapped when a
 * stream changes hands.
 *
 * Failure: on_end with err NULL is the peer's half-close (it may be answered still); with an error
 * the stream is dead and only closing is left. After on_end no more on_read comes. A peer that
 * takes no more bytes may have sent its last words before: while reading is on, they are delivered
 * first, and on_end follows. SIGPIPE must be ignored by the process.
 */
#ifndef ADIT_NET_STREAM_H
#define ADIT_NET_STREAM_H

#include "net/net_loop.h"

#define NET_STREAM_HIGH (256u * 1024)
#define NET_STREAM_LOW (64u * 1024)
#define NET_STREAM_QUEUE_MAX (16u * 1024 * 1024)
#define NET_STREAM_IOV_MAX 4

struct net_stream;

struct net_stream_ops {
    void (*on_read)(struct net_stream *s, struct adit_view bytes);
    void (*on_end)(struct net_stream *s, const struct adit_err *err);
    void (*on_drain)(struct net_stream *s);
};

/* Take over a connected, non-blocking descriptor of any stream family. On failure @take_fd is
 * closed. */
ADIT_MUST_CHECK int net_stream_open_fd(struct net_loop *l, int take_fd,
                                       const struct net_stream_ops *ops, void *owner,
                                       struct net_stream **out, struct adit_err *err);
void net_stream_set_owner(struct net_stream *s, const struct net_stream_ops *ops, void *owner);
void *net_stream_owner(const struct net_stream *s);
struct net_loop *net_stream_loop(const struct net_stream *s);

void net_stream_read_start(struct net_stream *s);
void net_stream_read_stop(struct net_stream *s);

/*
 * Send the concatenation of @views (cnt <= NET_STREAM_IOV_MAX). Bytes are taken or queued before it
 * returns. Errors: ADIT_ERR_CLOSED; ADIT_ERR_LIMIT above NET_STREAM_QUEUE_MAX (the caller ignored
 * back-pressure); ADIT_ERR_NO_MEMORY. After an error nothing more can be sent; while reading is on,
 * what the peer sent before still comes, then on_end. Never calls back.
 */
ADIT_MUST_CHECK int net_stream_write(struct net_stream *s, const struct adit_view *views,
                                     size_t cnt);
size_t net_stream_queued(const struct net_stream *s);
bool net_stream_is_congested(const struct net_stream *s);
/* Congested above @bytes from now on, instead of NET_STREAM_HIGH. */
void net_stream_set_high(struct net_stream *s, size_t bytes);

/*
 * What @s says is for @to as it is. While reads are large and nothing waits before @to, bytes go
 * there within the kernel: @on_splice is told how many, and writes @rest of them, which @to did not
 * take at once. Until that is sent @s is not read; on_drain of @to starts it again. Neither stream
 * may be encrypted; they end together.
 */
#define NET_STREAM_BULK (16u * 1024)
typedef void (*net_stream_splice_fn)(struct net_stream *s, size_t len, struct adit_view rest);
void net_stream_set_sink(struct net_stream *s, struct net_stream *to,
                         net_stream_splice_fn on_splice);

/* Half-close for writing once the queue is sent. */
void net_stream_shutdown(struct net_stream *s);
/* Close after the queue is sent, then half-close and drain input for a short while so that the peer
 * can read our last bytes (lingering close, at most NET_STREAM_LINGER_MS). A queue that does not
 * shrink for NET_STREAM_FLUSH_MS is given up. */
#define NET_STREAM_LINGER_MS 2000
#define NET_STREAM_FLUSH_MS 30000
void net_stream_close_gracefully(struct net_stream *s);
void net_stream_close(struct net_stream *s);
/* Close with RST (TCP, SO_LINGER 0); on other families an ordinary close. */
void net_stream_reset(struct net_stream *s);

/* Has the peer closed its sending side? Asks the kernel, so it also knows while reading is off. */
bool net_stream_peer_has_closed(const struct net_stream *s);

/* Peer's address as text ("127.0.0.1", "unix", "vsock:2"); for X-Forwarded-For and logs. Kept in
 * the stream: valid as long as that. */
#define NET_STREAM_PEER_CAP 48
const char *net_stream_peer(struct net_stream *s);
/* Does the peer speak TLS with us? */
bool net_stream_is_encrypted(const struct net_stream *s);
/* AF_VSOCK peers: the CID; otherwise 0. */
uint32_t net_stream_peer_cid(const struct net_stream *s);

#endif
