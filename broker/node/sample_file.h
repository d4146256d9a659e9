/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measurements of one sandbox on disk: <sandboxes_dir>/<id>/samples, records of SAMPLE_LEN
 * bytes in the order they were taken. Written and read on the thread pool.
 */
#ifndef BROKER_NODE_SAMPLE_FILE_H
#define BROKER_NODE_SAMPLE_FILE_H

#include <uv.h>

#include "broker/node/sample.h"

#define SAMPLE_FILE_NAME "samples"
/* As many as the longest life that can be configured (8,760 h) has. */
#define SAMPLE_FILE_RECORDS_MAX (8760u * 3600 * 1000 / SAMPLE_INTERVAL_MS)
/* Most samples of one answer: a range with more is thinned out evenly, its last sample stays. */
#define SAMPLE_FILE_POINTS_MAX 1024

typedef void (*sample_file_appended_fn)(void *user, const struct adit_err *err);
/* @samples are valid inside only; ascending in time unless the host's clock was set back. */
typedef void (*sample_file_read_fn)(void *user, const struct sample *samples, size_t cnt,
                                    const struct adit_err *err);

/*
 * Both: callbacks come on the loop, never before the function returns. @sandboxes_fd must stay open
 * until then. The sandbox may end meanwhile: then there is nothing to append to or to read.
 * Errors: NO_MEMORY; then no callback comes.
 */
ADIT_MUST_CHECK int sample_file_append(uv_loop_t *uv, int sandboxes_fd, const char *sandbox_id,
                                       const struct sample *s, sample_file_appended_fn on_done,
                                       void *user);
/* Those with 0 <= start_ms <= at_ms <= end_ms; a bounded number of reads, however many there are.
 */
ADIT_MUST_CHECK int sample_file_read(uv_loop_t *uv, int sandboxes_fd, const char *sandbox_id,
                                     int64_t start_ms, int64_t end_ms, sample_file_read_fn on_done,
                                     void *user);

#endif
