/* SPDX-License-Identifier: Apache-2.0 */
/* An address and a port somewhere outside, as packets and sockets of a sandbox name it. */
#ifndef ENVD_EGRESS_EGRESS_ADDRESS_H
#define ENVD_EGRESS_EGRESS_ADDRESS_H

#include <netinet/in.h>

#include "base/view.h"

#define EGRESS_IPV4_LEN 4
#define EGRESS_IPV6_LEN 16

/* @bytes: in network order. @len: EGRESS_IPV4_LEN or EGRESS_IPV6_LEN. @port: in host order. */
struct egress_address {
    uint8_t bytes[EGRESS_IPV6_LEN];
    uint8_t len;
    uint16_t port;
};

/* @p: @len bytes in network order, @len one of the two. */
void egress_address_set(struct egress_address *a, const void *p, size_t len, uint16_t port);
bool egress_address_eq(const struct egress_address *a, const struct egress_address *b);
/* Return: false for another family than AF_INET and AF_INET6. */
bool egress_address_from_socket(struct egress_address *a, const struct sockaddr_storage *s);

#endif
