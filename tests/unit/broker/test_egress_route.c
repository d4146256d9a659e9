/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are the host's own, as its routes are. */
#include "../suite.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/resource.h>

#include "broker/egress/egress_route.h"

static bool is_own(const char *text)
{
    struct ip_addr a;
    ck_assert(ip_addr_parse(adit_view_str(text), &a));
    return egress_route_is_own(&a);
}

START_TEST(egress_route_knows_loopback_however_it_is_spelled)
{
    static const char *const own[] = {"127.0.0.1", "127.200.0.9", "0.0.0.0", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        ck_assert_msg(is_own(own[i]), "%s", own[i]);
}
END_TEST

/* A moment later the connection itself could be made. */
START_TEST(egress_route_takes_what_it_cannot_ask_for_the_hosts)
{
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool is_ours = is_own("127.0.0.1"), is_theirs = is_own("8.8.8.8");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(is_ours && is_theirs);
}
END_TEST

SUITE_MAIN("egress_route", egress_route_knows_loopback_however_it_is_spelled,
           egress_route_takes_what_it_cannot_ask_for_the_hosts)
