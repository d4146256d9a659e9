/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that bench_edge measures, each forked from it. */
#ifndef BENCH_PARTS_H
#define BENCH_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

/* What every request is for; nginx and the plain relay do not look at it. */
#define PARTS_HOST "49983-ibench.adit.test"

struct part {
    pid_t pid;
    uint16_t port;
};

/*
 * @edge, @tls_edge:  for rates
 * @body_edge:        for large bodies; what it uses before is known
 * @idle_edge, @idle_tls_edge: the same for idle connections
 * @nginx, @tls_nginx, @http2_nginx: one process, three ports
 */
struct parts {
    struct part stub, edge, body_edge, idle_edge, tls_edge, idle_tls_edge;
    struct part plain, nginx, tls_nginx, http2_nginx;
};

/* @body_len: of "GET /big" and of what a POST brings. Ends the benchmark when it fails. */
void parts_start(struct parts *p, uint64_t body_len);
/* End all and remove their files. */
void parts_stop(struct parts *p);

/* A blocking connection to a loopback port. Ends the benchmark when it fails. */
int parts_connect(uint16_t port);
/* Return: false when the connection failed. */
bool parts_send_all(int fd, const char *p, size_t len);
/* In a child: nothing is left behind when the benchmark is interrupted. */
void parts_die_with_parent(void);
/* Say what failed, with errno, and end. */
_Noreturn void parts_die(const char *what);

#endif
