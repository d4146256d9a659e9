/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use the session API without a key: nobody, or a developer on the machine itself. */
#ifndef BROKER_SESSION_SESSION_ACCESS_H
#define BROKER_SESSION_SESSION_ACCESS_H

#include "base/view.h"

struct api_request;

/* The team of requests without a key. */
#define SESSION_ACCESS_TEAM "adit-session-open"

/* Does the development switch let this request pass? */
bool session_access_is_open(const struct api_request *rq);

/*
 * What tells whether a request is of this machine's own, borrowed. NULL ptr when it is absent.
 *
 * @peer:      address of the connection
 * @forwarded: any header by which a proxy tells that the request is somebody else's
 */
struct session_access_input {
    struct adit_view peer, host, origin, forwarded;
};
/* From a loopback address, to a loopback name, by no proxy, and by no page of another site. No I/O.
 */
bool session_access_is_local(const struct session_access_input *in);

#endif
