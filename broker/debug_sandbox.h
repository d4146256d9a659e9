/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug mode's sandbox: an open one of template "base" that is there as long as the broker.
 *
 * For a developer's machine: whoever reaches the debug listeners may do anything in it, without a
 * key. On the control loop's thread.
 */
#ifndef BROKER_DEBUG_SANDBOX_H
#define BROKER_DEBUG_SANDBOX_H

#include "broker/broker.h"

#define DEBUG_SANDBOX_TEMPLATE "base"
#define DEBUG_SANDBOX_TEAM "adit-debug"
/* How often it is looked after, and the wait after a failure. */
#define DEBUG_SANDBOX_LOOK_MS 200
#define DEBUG_SANDBOX_RETRY_MS 2000
/* It is given this time again and again; so it ends that long after the last broker that wanted it.
 */
#define DEBUG_SANDBOX_LIFE_MS (UINT64_C(600) * 1000)

struct debug_sandbox;

/* Errors: NO_MEMORY. @b outlives it. */
ADIT_MUST_CHECK int debug_sandbox_new(struct broker *b, struct debug_sandbox **out,
                                      struct adit_err *err);
/* The scheduler can be asked: find the sandbox of an earlier broker or make one, and stay with it.
 * Does nothing the second time. */
void debug_sandbox_start(struct debug_sandbox *d);
/* Look after it no more; the sandbox stays. NULL is fine. */
void debug_sandbox_stop(struct debug_sandbox *d);
/* When no call runs any more. */
void debug_sandbox_free(struct debug_sandbox *d);

/* May debug mode listen there? Only on this machine's own addresses. */
bool debug_sandbox_may_listen(const char *address);

#endif
