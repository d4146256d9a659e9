/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin token.
 *
 * Theory of operation
 *
 * What: a file, read once at start, because later the broker may not open it. In memory is its
 * SHA-256, and what a request brings is hashed before it is compared. Trust: the file's name and
 * content are the operator's; a file that others may read is refused rather than used.
 */
#include "broker/admin_token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/rand.h"

#define PREFIX "adm_"
#define RANDOM_LEN 20
#define DIGEST_PREFIX "sha256:"

static bool is_token(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.ptr[i] <= ' ' || v.ptr[i] > '~')
            return false;
    return v.len >= ADMIN_TOKEN_MIN && v.len <= ADMIN_TOKEN_MAX;
}

static int take_text(struct adit_view text, struct admin_token *out, struct adit_err *err)
{
    struct adit_view v, rest;
    (void)adit_view_split(text, '\n', &v, &rest); /* one line, perhaps without its end */
    if (adit_view_has_prefix(v, DIGEST_PREFIX)) {
        v = adit_view_mem(v.ptr + strlen(DIGEST_PREFIX), v.len - strlen(DIGEST_PREFIX));
        if (adit_hex_decode(v, out->sha256, sizeof(out->sha256)))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "no SHA-256 behind \"" DIGEST_PREFIX "\"");
        return 0;
    }
    if (!is_token(v))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "no token of %d to %d printable characters",
                            ADMIN_TOKEN_MIN, ADMIN_TOKEN_MAX);
    adit_sha256(v, out->sha256);
    return 0;
}

static int read_file(const char *path, struct admin_token *out, struct adit_err *err)
{
    char text[ADMIN_TOKEN_MAX + 64];
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "open");
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "mode %04o: it must be a file that nobody else may read (0600)",
                            (unsigned)st.st_mode & 07777);
    ssize_t n = read(fd, text, sizeof(text));
    return n < 0 ? adit_err_sys(err, errno, "read")
                 : take_text(adit_view_mem(text, (size_t)n), out, err);
}

static int make_file(const char *state_dir, struct adit_err *err)
{
    char token[sizeof(PREFIX) + (size_t)2 * RANDOM_LEN + 1];
    uint8_t bytes[RANDOM_LEN];
    ADIT_CLEANUP_CLOSE int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return adit_err_sys(err, errno, "open %s", state_dir);
    adit_rand_bytes(bytes, sizeof(bytes));
    memcpy(token, PREFIX, strlen(PREFIX));
    adit_hex_encode(bytes, sizeof(bytes), token + strlen(PREFIX));
    token[sizeof(token) - 2] = '\n';
    return adit_file_replace(dir, ADMIN_TOKEN_FILE, adit_view_mem(token, sizeof(token) - 1), 0600,
                             err);
}

int admin_token_load(const char *state_dir, const char *file, struct admin_token *out,
                     struct adit_err *err)
{
    char path[PATH_MAX];
    int n = file[0] ? snprintf(path, sizeof(path), "%s", file)
                    : snprintf(path, sizeof(path), "%s/%s", state_dir, ADMIN_TOKEN_FILE);
    int rc = 0;
    if (n < 0 || (size_t)n >= sizeof(path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "admin-token-file: too long");
    if (!file[0] && access(path, F_OK) && errno == ENOENT)
        rc = make_file(state_dir, err);
    if (rc == 0)
        rc = read_file(path, out, err);
    if (rc)
        (void)adit_err_wrap(err, "admin token %s", path); /* the code is rc */
    return rc;
}

bool admin_token_matches(const struct admin_token *t, struct adit_view text)
{
    uint8_t sha256[ADIT_SHA256_LEN];
    adit_sha256(text, sha256);
    return adit_view_eq_secret(adit_view_mem(sha256, sizeof(sha256)),
                               adit_view_mem(t->sha256, sizeof(t->sha256)));
}
