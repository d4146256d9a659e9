/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker may do once it serves. */
#ifndef BROKER_BROKER_PROFILE_H
#define BROKER_BROKER_PROFILE_H

#include "broker/broker_conf.h"
#include "confine/confine.h"

/* Enter the profile for good: see confine_enter(). */
ADIT_MUST_CHECK int broker_profile_enter(const struct confine_user *user,
                                         const struct broker_conf *conf, struct adit_err *err);

#endif
