/* SPDX-License-Identifier: Apache-2.0 */
/* "broker doctor": what this host can run sandboxes in, what it lacks, and what adds it. */
#ifndef BROKER_DOCTOR_H
#define BROKER_DOCTOR_H

#include "broker/broker_conf.h"

/* Print what was found, for people or (@is_json) for programs. Boots a guest where KVM is to be
 * judged. Return: the exit status, 0 when sandboxes of some kind can be made. */
int doctor_main(const struct broker_conf *c, bool is_json);

#endif
