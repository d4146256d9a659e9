/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses and blocks of them (CIDR), of both families in one form: 16 bytes, IPv4 as
 * IPv4-mapped (RFC 4291 2.5.5.2). So one address has one spelling here. Pure; no names.
 */
#ifndef ADIT_NET_IP_BLOCK_H
#define ADIT_NET_IP_BLOCK_H

#include <netinet/in.h>

#include "base/view.h"

struct ip_addr {
    unsigned char bytes[16];
};

/* The first @bits (0..128) of @addr; the rest of it is 0. */
struct ip_block {
    struct ip_addr addr;
    unsigned bits;
};

/* Dotted decimal with four parts or RFC 4291 text. Return: false if it is not one. */
bool ip_addr_parse(struct adit_view v, struct ip_addr *out);
/* 4 bytes of IPv4, or 16 of IPv6. Return: false for any other length. */
bool ip_addr_from_bytes(struct adit_view v, struct ip_addr *out);
bool ip_addr_is_v4(const struct ip_addr *a);
/* As the system calls take it. Return: its length. */
socklen_t ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *out);
/* Return: false for an address of another family, or none (NULL). */
bool ip_addr_from_sockaddr(const struct sockaddr *s, struct ip_addr *out);
/* As people write it, IPv4 with dots. */
#define IP_ADDR_TEXT_CAP INET6_ADDRSTRLEN
void ip_addr_format(const struct ip_addr *a, char out[IP_ADDR_TEXT_CAP]);

/* An address, or an address with a prefix length; host bits are cut off. Return: false if it is
 * neither. */
bool ip_block_parse(struct adit_view v, struct ip_block *out);
bool ip_block_has(const struct ip_block *b, const struct ip_addr *a);
/*
 * Whether @a is no address of the public internet: loopback, unspecified, private, link-local,
 * shared (carriers'), multicast, broadcast, documentation, benchmarking, reserved (RFC 6890 and
 * the IANA special-purpose registries), and IPv6 addresses that carry such an IPv4 one (NAT64
 * 64:ff9b::/96, 6to4, IPv4-compatible).
 */
bool ip_addr_is_special(const struct ip_addr *a);
/* Whether @a is an IPv6 address that stands for an IPv4 one (NAT64, 6to4), and for which. */
bool ip_addr_carried_v4(const struct ip_addr *a, struct ip_addr *out);

#endif
