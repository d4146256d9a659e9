/* SPDX-License-Identifier: Apache-2.0 */
/* Version numbers that more than one program must agree on. */
#ifndef ADIT_BASE_VERSION_H
#define ADIT_BASE_VERSION_H

/*
 * What clients are told of envd's abilities, as a version of the reference agent (they compare it
 * with their gates). The choice is explained in docs/compatibility.md.
 */
#define ADIT_ENVD_VERSION "0.6.7"

#endif
