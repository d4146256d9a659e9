/* SPDX-License-Identifier: Apache-2.0 */
/* The client stream process.Process/StreamInput. */
#ifndef ENVD_STREAM_INPUT_H
#define ENVD_STREAM_INPUT_H

#include "rpc/rpc_server.h"

/* The method's handlers; stream_input_open() is for on_open. */
ADIT_MUST_CHECK int stream_input_open(struct rpc_call *c, struct adit_err *err);
void stream_input_on_message(struct rpc_call *c, const ProtobufCMessage *m);
void stream_input_on_half_close(struct rpc_call *c);
void stream_input_on_cancel(struct rpc_call *c, int code);

#endif
