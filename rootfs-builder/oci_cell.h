/* SPDX-License-Identifier: Apache-2.0 */
/* Where programs run that read strangers' images: nothing of the host can be written from there. */
#ifndef ROOTFS_BUILDER_OCI_CELL_H
#define ROOTFS_BUILDER_OCI_CELL_H

#include "base/buf.h"

/* What root is in a cell, and 65,535 ids above it: below those of sandboxes, and nobody's. */
#define OCI_CELL_ID_BASE 0x6fff0000u
#define OCI_CELL_ID_CNT 65536u
#define OCI_CELL_BINDS_MAX 4
#define OCI_CELL_ENV_MAX 16
/* What a program may say on standard error; of more, the last part is kept. */
#define OCI_CELL_WORDS_CAP 8192u
#define OCI_CELL_REPORT_MAX 256
#define OCI_CELL_MEMORY_MAX (4ull * 1024 * 1024 * 1024)

/*
 * Something of the host that a cell sees.
 * @at:          absolute path in the cell, one component
 * @is_writable: else read-only
 */
struct oci_cell_bind {
    const char *path, *at;
    bool is_writable;
};

/*
 * @argv:      the program, by a name in PATH, and its words; NULL-terminated
 * @env:       its variables beside PATH and HOME, NULL-terminated
 * @binds:     files of any owner are the cell's own in them, as far as the file system can do that
 * @is_online: it has the host's network; else none at all
 * @watched:   the directory of the cell that it fills, and how far: bytes on disk, entries; may be
 *             NULL
 * @bytes_max: of one file too
 * @finish:    called in the cell when the program has succeeded, with @arg; may be NULL. It reports
 *             @report_len bytes, which come from the cell: as hostile as what ran in it
 * @output:    gets its standard output; NULL: as standard error
 */
struct oci_cell {
    const char *const *argv;
    const char *const *env;
    struct oci_cell_bind binds[OCI_CELL_BINDS_MAX];
    size_t bind_cnt;
    bool is_online;
    const char *watched;
    uint64_t bytes_max, entries_max, time_max_ms;
    int (*finish)(void *arg, void *report, struct adit_err *err);
    void *arg, *report;
    size_t report_len;
    struct adit_buf *output;
};

/*
 * Run it and wait for its end; every process in the cell has ended then. Needs root.
 * Errors: PRECONDITION (not root, program not installed), LIMIT, TIMEOUT, what @finish says, IO
 * with the program's last words.
 */
ADIT_MUST_CHECK int oci_cell_run(const struct oci_cell *c, struct adit_err *err);

#endif
