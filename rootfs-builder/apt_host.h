/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's package sources and download settings, which a Debian template is built from and
 * keeps.
 */
#ifndef ROOTFS_BUILDER_APT_HOST_H
#define ROOTFS_BUILDER_APT_HOST_H

#include "base/buf.h"

#define APT_HOST_SOURCES_MAX 64
#define APT_HOST_FILE_CAP (1024u * 1024)

/*
 * @sources:  paths of files that name the suite (one-line and Deb822 format); heap
 * @settings: apt.conf text for the build: what the host says under Acquire::
 */
struct apt_host {
    char *sources[APT_HOST_SOURCES_MAX];
    size_t source_cnt;
    struct adit_buf settings;
};

/* Errors: NOT_FOUND when no source names @suite, LIMIT, IO, NO_MEMORY. On failure nothing is owned.
 */
ADIT_MUST_CHECK int apt_host_read(struct apt_host *a, const char *etc_apt, const char *suite,
                                  struct adit_err *err);
void apt_host_free(struct apt_host *a);

/* Whether @text, a sources file, names @suite as a word ("bookworm", not "bookworm-updates" alone).
 */
bool apt_host_names_suite(struct adit_view text, const char *suite);
/* Append those lines of `apt-config dump` that say how to download. */
ADIT_MUST_CHECK int apt_host_filter(struct adit_view dump, struct adit_buf *out,
                                    struct adit_err *err);

#endif
