/* SPDX-License-Identifier: Apache-2.0 */
/* The command `broker purge`: end every sandbox of a state directory that no broker uses. */
#ifndef BROKER_PURGE_H
#define BROKER_PURGE_H

#include "broker/broker_conf.h"

/* Longest wait for all of them to end. */
#define PURGE_WAIT_MS 60000

/* Errors: EXISTS (a broker runs), TIMEOUT, those of host_prepare(). */
ADIT_MUST_CHECK int purge_main(struct broker_conf *conf, struct adit_err *err);

#endif
