/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/launcher/runtime_version.h"

#include "tests/unit/suite.h"

START_TEST(runtime_version_knows_which_crun_is_safe)
{
    char version[RUNTIME_VERSION_CAP];
    ck_assert(!runtime_version_is_safe(adit_view_str("crun version 1.8.1\ncommit: x\n"), version));
    ck_assert_str_eq(version, "1.8.1");
    ck_assert(runtime_version_is_safe(adit_view_str("crun version 1.28\n"), version));
    ck_assert(runtime_version_is_safe(adit_view_str("crun version 1.28.2"), version));
    ck_assert(runtime_version_is_safe(adit_view_str("crun version 2.0\n"), version));
    ck_assert(!runtime_version_is_safe(adit_view_str("runsc version 5\n"), version));
    ck_assert_str_eq(version, "unknown");
    ck_assert(!runtime_version_is_safe(adit_view_str(""), version));
}
END_TEST

SUITE_MAIN("runtime_version", runtime_version_knows_which_crun_is_safe)
