/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef ADIT_CONFINE_CONFINE_INT_H
#define ADIT_CONFINE_CONFINE_INT_H

/* A sanitizer reads /proc/self to make its report, and looks at all memory for leaks. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_IS_SANITIZED 1
#endif
#endif
#ifndef CONFINE_IS_SANITIZED
#define CONFINE_IS_SANITIZED 0
#endif

#endif
