/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of requests and answers. */
/*
 * Theory of operation
 *
 * What     How a body becomes messages and a message bytes, the same for all protocols; what is
 *          around the messages is in connect.c and grpc_web.c.
 * Limits   RPC_MESSAGE_MAX for a body or message, before and after decompression.
 * Trust    Bodies are hostile.
 * Failure  Texts are those that clients know from other Connect servers, where they may look at
 *          them.
 */
#include "rpc/message.h"

#include "net/gzip.h"
#include "rpc/pbjson.h"

/* ---- bodies ---- */

void message_reader_init(struct message_reader *r, const struct protocol_request *req,
                         const ProtobufCMessageDescriptor *type)
{
    *r = (struct message_reader){.req = req, .type = type};
    adit_buf_init(&r->body, RPC_MESSAGE_MAX);
    frame_reader_init(&r->frames, FRAME_PAYLOAD_MAX);
}

void message_reader_fini(struct message_reader *r)
{
    adit_buf_fini(&r->body);
    frame_reader_fini(&r->frames);
}

static bool wants_one(const struct message_reader *r)
{
    return r->req->kind != RPC_CLIENT_STREAM;
}

static int decode_plain(const struct message_reader *r, struct adit_view bytes,
                        ProtobufCMessage **msg, struct adit_err *err)
{
    if (r->req->codec == RPC_JSON)
        return pbjson_decode(r->type, bytes, msg, err);
    *msg = protobuf_c_message_unpack(r->type, NULL, bytes.len, (const uint8_t *)bytes.ptr);
    return *msg ? 0
                : adit_err_set(err, ADIT_ERR_BAD_INPUT,
                               "unmarshal message: not a valid protobuf message");
}

static int decode(struct message_reader *r, bool compressed, struct adit_view bytes,
                  ProtobufCMessage **msg, struct adit_err *err)
{
    struct adit_buf plain;
    int rc;

    r->message_cnt++;
    if (!compressed)
        return decode_plain(r, bytes, msg, err);
    adit_buf_init(&plain, RPC_MESSAGE_MAX);
    rc = gzip_decode_all(bytes, RPC_MESSAGE_MAX, &plain, err);
    if (rc)
        rc = adit_err_wrap(err, "decompress");
    else
        rc = decode_plain(r, adit_buf_view(&plain), msg, err);
    adit_buf_fini(&plain);
    return rc;
}

static int feed_body(struct message_reader *r, struct adit_view *in, struct adit_err *err)
{
    int rc = adit_buf_append_view(&r->body, *in);
    in->len = 0;
    if (rc == ADIT_ERR_LIMIT)
        return adit_err_set(err, rc, "message is larger than the maximum %u", RPC_MESSAGE_MAX);
    return rc ? adit_err_set(err, rc, "no memory for the message") : 0;
}

static int feed_envelopes(struct message_reader *r, struct adit_view *in, ProtobufCMessage **msg,
                          struct adit_err *err)
{
    struct adit_view payload;
    uint8_t flags;
    bool complete;

    int rc = frame_read(&r->frames, in, &complete, &flags, &payload, err);
    if (rc || !complete)
        return rc;
    if (flags & ~(unsigned)FRAME_FLAG_COMPRESSED)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "protocol error: a request stream has no end-of-stream envelope");
    if (flags && !r->req->gzip_in)
        return adit_err_set(err, ADIT_ERR_PROTOCOL,
                            "protocol error: compressed envelope without a message encoding");
    return decode(r, flags, payload, msg, err);
}

int message_reader_feed(struct message_reader *r, struct adit_view *in, ProtobufCMessage **msg,
                        struct adit_err *err)
{
    *msg = NULL;
    if (!r->req->protocol->has_envelopes)
        return feed_body(r, in, err);
    if (wants_one(r) && r->message_cnt) {
        in->len = 0;
        return 0;
    }
    return feed_envelopes(r, in, msg, err);
}

int message_reader_end(struct message_reader *r, ProtobufCMessage **msg, struct adit_err *err)
{
    *msg = NULL;
    if (!r->req->protocol->has_envelopes)
        return decode(r, r->req->gzip_in, adit_buf_view(&r->body), msg, err);
    if (wants_one(r) && r->message_cnt)
        return 0;
    if (!frame_reader_is_idle(&r->frames))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "protocol error: incomplete envelope");
    if (wants_one(r))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "protocol error: request without a message");
    return 0;
}

/* ---- answers ---- */

static int append_proto(const ProtobufCMessage *m, struct adit_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    int rc = adit_buf_reserve(out, len);
    if (rc || len == 0)
        return rc;
    adit_buf_added(out, protobuf_c_message_pack(m, (uint8_t *)adit_buf_tail(out)));
    return 0;
}

int message_append(enum rpc_codec codec, const ProtobufCMessage *m, struct adit_buf *out)
{
    return codec == RPC_JSON ? pbjson_encode(m, out) : append_proto(m, out);
}

int message_append_envelope(uint8_t flags, enum rpc_codec codec, const ProtobufCMessage *m,
                            struct adit_buf *out)
{
    size_t start = out->len;
    int rc = frame_begin(out);
    if (!rc)
        rc = message_append(codec, m, out);
    if (!rc)
        frame_finish(out, start, flags);
    return rc;
}
