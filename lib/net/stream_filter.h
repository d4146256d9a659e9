/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter between a stream's socket and its owner, as TLS is: what comes from the socket goes to
 * the filter, which delivers what it makes of it; what the owner writes goes to the filter, which
 * sends what it makes of that. Queue, back-pressure, deadlines and closing stay the stream's.
 *
 * A filter sees the socket's bytes in the loop's scratch buffer behind NET_STREAM_FILTER_ROOM free
 * bytes. So it may write its output from the start of the scratch on while it reads, as long as the
 * output is never ahead of the input by more than that room.
 */
#ifndef ADIT_NET_STREAM_FILTER_H
#define ADIT_NET_STREAM_FILTER_H

#include "net/stream.h"

#define NET_STREAM_FILTER_ROOM (16u * 1024)

struct net_stream_filter;

/*
 * @input:     bytes from the socket, while the owner reads
 * @input_end: the socket's end
 * @write:     as net_stream_write()
 * @finish:    the owner will write no more: send the last words
 * @free:      the stream is gone
 */
struct net_stream_filter_ops {
    void (*input)(struct net_stream_filter *f, struct adit_view bytes);
    void (*input_end)(struct net_stream_filter *f);
    int (*write)(struct net_stream_filter *f, const struct adit_view *views, size_t cnt);
    void (*finish)(struct net_stream_filter *f);
    void (*free)(struct net_stream_filter *f);
};

/* First member of every filter. @stream is set by net_stream_set_filter(). */
struct net_stream_filter {
    const struct net_stream_filter_ops *ops;
    struct net_stream *stream;
};

/* Before anything was read or written. The stream owns @take_f, and frees it when it is gone. */
void net_stream_set_filter(struct net_stream *s, struct net_stream_filter *take_f);

/* NULL: none. */
struct net_stream_filter *net_stream_filter_of(const struct net_stream *s);

/* For filters only. Send past the filter: errors as net_stream_write(), and it never calls back. */
ADIT_MUST_CHECK int net_stream_filter_send(struct net_stream *s, struct adit_view bytes);
/* Give bytes to the owner, who may close the stream in it (the filter stays until a later turn). */
void net_stream_filter_deliver(struct net_stream *s, struct adit_view bytes);
/* Tell the owner the end; the second time nothing. @err as of on_end. */
void net_stream_filter_end(struct net_stream *s, const struct adit_err *err);

#endif
