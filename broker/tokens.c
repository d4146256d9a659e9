/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox tokens.
 *
 * Theory of operation
 *
 * A token is an HMAC-SHA256 of the sandbox id under a seed kept in the state directory. So tokens
 * are stable over restarts and pauses, nothing secret stands in a record, and a new seed voids them
 * all. A rotated one has its generation behind the id; ":" stands in no id, so no two texts are the
 * same.
 */
#include "broker/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/rand.h"

static int make_seed(int dir_fd, struct tokens *out, struct adit_err *err)
{
    char text[2 * TOKENS_SEED_LEN + 2];
    adit_rand_bytes(out->seed, sizeof(out->seed));
    adit_hex_encode(out->seed, sizeof(out->seed), text);
    text[2 * TOKENS_SEED_LEN] = '\n';
    return adit_file_replace(dir_fd, "seed", adit_view_mem(text, 2 * TOKENS_SEED_LEN + 1), 0600,
                             err);
}

static int parse_seed(struct adit_view text, struct tokens *out, struct adit_err *err)
{
    if (text.len > 0 && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (text.len != 2 * TOKENS_SEED_LEN || adit_hex_decode(text, out->seed, sizeof(out->seed)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the file \"seed\" does not hold a seed");
    return 0;
}

int tokens_load(const char *state_dir, struct tokens *out, struct adit_err *err)
{
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return adit_err_sys(err, errno, "open %s", state_dir);
    struct adit_buf text;
    adit_buf_init(&text, 4096);
    int rc = adit_file_read(dir_fd, "seed", &text, err);
    if (rc == ADIT_ERR_NOT_FOUND)
        rc = make_seed(dir_fd, out, err);
    else if (rc == 0)
        rc = parse_seed(adit_buf_view(&text), out, err);
    adit_buf_fini(&text);
    (void)close(dir_fd); /* only read through */
    return rc;
}

static void derive(const struct tokens *t, const char *label, const char *sandbox_id,
                   uint32_t generation, char out[TOKENS_CAP])
{
    char text[128];
    uint8_t mac[ADIT_SHA256_LEN];
    int n = generation ? snprintf(text, sizeof(text), "%s%s:%u", label, sandbox_id, generation)
                       : snprintf(text, sizeof(text), "%s%s", label, sandbox_id);
    adit_sha256_hmac(adit_view_mem(t->seed, sizeof(t->seed)), adit_view_mem(text, (size_t)n), mac);
    adit_hex_encode(mac, sizeof(mac), out);
}

void tokens_envd(const struct tokens *t, const char *sandbox_id, uint32_t generation,
                 char out[TOKENS_CAP])
{
    derive(t, "", sandbox_id, generation, out);
}

void tokens_traffic(const struct tokens *t, const char *sandbox_id, uint32_t generation,
                    char out[TOKENS_CAP])
{
    derive(t, "sandbox-traffic-", sandbox_id, generation, out);
}

void tokens_sandbox_id(const struct tokens *t, const char *team_id, struct adit_view key,
                       char out[SANDBOX_ID_CAP])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t of_team[ADIT_SHA256_LEN], mac[ADIT_SHA256_LEN];
    /* Two steps, so that no team and key run into one another. */
    adit_sha256_hmac(adit_view_mem(t->seed, sizeof(t->seed)), adit_view_str(team_id), of_team);
    adit_sha256_hmac(adit_view_mem(of_team, sizeof(of_team)), key, mac);
    out[0] = 'i';
    for (size_t i = 1; i < SANDBOX_ID_LEN; i++)
        out[i] = digits[mac[i] % 36];
    out[SANDBOX_ID_LEN] = '\0';
}
