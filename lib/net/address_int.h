/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's address of any family that channels and listeners have. */
#ifndef ADIT_NET_ADDRESS_INT_H
#define ADIT_NET_ADDRESS_INT_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

union net_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_vm vm;
};

#endif
