/* SPDX-License-Identifier: Apache-2.0 */
/* Guest port 1026: channels by which the host answers dials. */
#ifndef ENVD_EGRESS_EGRESS_ACCEPT_H
#define ENVD_EGRESS_EGRESS_ACCEPT_H

#include "envd/egress/egress_dial.h"

/* From adoption to the line. */
#define EGRESS_ACCEPT_LINE_MS 2000

/* Channels whose line has not come; embedded in its owner. @waiting: owned. */
struct egress_accepts {
    struct net_loop *loop;      /* borrowed */
    struct egress_dials *dials; /* borrowed */
    struct adit_list waiting;
    size_t cnt;
};

void egress_accepts_init(struct egress_accepts *a, struct net_loop *l, struct egress_dials *dials);
void egress_accepts_close(struct egress_accepts *a);
/* Take a stream on which the line "<id>" comes next; @already was read from it. It is answered with
 * "OK", or closed when nobody waits for that id. @owed: to be said before; where the line is there
 * both are one write. */
void egress_accepts_adopt(struct egress_accepts *a, struct net_stream *take_stream,
                          struct adit_view already, struct adit_view owed);

#endif
