/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for streams (OpenSSL), as server or as client.
 *
 * Theory of operation
 *
 * A *context* is a certificate with its key and the rules of the handshake. It never changes, is
 * counted, and may be shared by threads; a new certificate is a new context, and connections keep
 * the one that they began with. tls_accept() puts TLS between a stream and its owner, who notices
 * nothing: on_read brings plain text, the peer's close_notify is its half-close, ours goes before
 * net_stream_shutdown()'s. The handshake runs while the owner reads, and nothing is delivered
 * before it is done; so the owner's deadline for the first byte bounds the handshake too.
 *
 * Rules: TLS 1.2 and 1.3, forward secrecy and authenticated encryption only (Mozilla's
 * "intermediate" without the finite-field groups), no renegotiation, no compression, no early data,
 * sessions resumed by tickets, whose keys live and die with the context.
 *
 * A client's context has the authorities that may say who a server is; tls_connect() begins at
 * once, and the owner may write when it hears that the handshake is done. Nothing is written before
 * a server has proved its name.
 *
 * Failure: an end of the socket without close_notify is an error (somebody may have cut it), as is
 * a record that does not authenticate. A peer that speaks HTTP in clear is told so in clear.
 */
#ifndef ADIT_NET_TLS_H
#define ADIT_NET_TLS_H

#include "net/stream.h"

/* Largest file of certificates or key, and of authorities. */
#define TLS_FILE_CAP (256u * 1024)
#define TLS_TRUST_FILE_CAP (4u * 1024 * 1024)

/* What a client may have TLS itself say after the handshake (answers to key updates, alerts), all
 * its life: they cost it as little as us, and nobody's back-pressure holds them. */
#define TLS_TALK_MAX (64u * 1024)

struct tls_context;

/* @cert_file: PEM, the server's certificate first, then those that lead to its authority
 * @key_file:  PEM, without a passphrase
 * @offers_h2: the owner of the streams speaks HTTP/2 too */
struct tls_context_conf {
    const char *cert_file, *key_file;
    bool offers_h2;
};

/* Errors: as adit_file_read(); BAD_INPUT with the file's name for what it holds; NO_MEMORY. Never
 * called by two threads at once. */
ADIT_MUST_CHECK int tls_context_load(const struct tls_context_conf *conf, struct tls_context **out,
                                     struct adit_err *err);
/* The same of PEM texts; HTTP/1 only. Errors: BAD_INPUT, NO_MEMORY. */
ADIT_MUST_CHECK int tls_context_parse(struct adit_view cert, struct adit_view key,
                                      struct tls_context **out, struct adit_err *err);
/* A client's, for HTTP/1, that trusts nobody yet. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int tls_context_new_client(struct tls_context **out, struct adit_err *err);
/* Trust the authorities of a PEM file, too; before the first tls_connect(). Return: 0. Errors: as
 * tls_context_load(). */
ADIT_MUST_CHECK int tls_context_trust(struct tls_context *c, const char *file,
                                      struct adit_err *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);
/* Is the certificate good for that host name? */
bool tls_context_covers(const struct tls_context *c, const char *host);
/* Seconds until it expires, negative if it has. */
int64_t tls_context_expires_in_s(const struct tls_context *c);

/* Make a stream, of which nothing was read or written, the server's side of a TLS connection.
 * Errors: NO_MEMORY; the stream is unchanged then. */
ADIT_MUST_CHECK int tls_accept(struct tls_context *c, struct net_stream *s, struct adit_err *err);

/* The handshake is done: the stream may be written to. Called before what came with its end is
 * read; the callee may give the stream another owner, or close it. */
typedef void (*tls_up_fn)(struct net_stream *s);

/* The server's side on a stream whose first bytes, those of a ClientHello, have been read: @already
 * (not in the loop's scratch). Tells the owner of an end as reading does, also inside this call.
 * Errors: as tls_accept(). */
ADIT_MUST_CHECK int tls_accept_begun(struct tls_context *c, struct net_stream *s,
                                     struct adit_view already, tls_up_fn on_up,
                                     struct adit_err *err);
/*
 * The client's side, for the server @host (a name, not an address), on a stream of which nothing
 * was read. A server that is not trusted to be @host is an end with UNAUTHENTICATED. Errors:
 * NO_MEMORY, CLOSED; the stream is of no use then.
 */
ADIT_MUST_CHECK int tls_connect(struct tls_context *c, struct net_stream *s, const char *host,
                                tls_up_fn on_up, struct adit_err *err);
/* Two TLS streams that are joined, and closed together: an end of one without close_notify is no
 * error, and the end that the other is told is the same, so that its peer draws the conclusion. */
void tls_pass_cuts(struct net_stream *a, struct net_stream *b);

#endif
