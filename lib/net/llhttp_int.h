/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llhttp.h for http_msg.c alone. llhttp's enumerators share names with those of http_msg.h; here
 * they begin with LLHTTP_ instead of HTTP_.
 */
#ifndef ADIT_NET_LLHTTP_INT_H
#define ADIT_NET_LLHTTP_INT_H

#define HTTP_REQUEST LLHTTP_REQUEST
#define HTTP_RESPONSE LLHTTP_RESPONSE
#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_PATCH LLHTTP_PATCH
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_OPTIONS LLHTTP_OPTIONS
#define HTTP_CONNECT LLHTTP_CONNECT
#include <llhttp.h>
#undef HTTP_REQUEST
#undef HTTP_RESPONSE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#undef HTTP_CONNECT

#endif
