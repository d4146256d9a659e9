/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of every_type.proto with their code, for the one file of a program that tests them.
 */
#ifndef ADIT_TESTS_PROTO_EVERY_TYPE_H
#define ADIT_TESTS_PROTO_EVERY_TYPE_H

/* Generated code is compiled without our warnings elsewhere. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "every_type.pb-c.c"
#pragma GCC diagnostic pop

#endif
