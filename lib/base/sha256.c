/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and HMAC-SHA256. */
/*
 * Theory of operation
 *
 * What     The digest is OpenSSL's low-level SHA-256 (see sha256.h for why); HMAC is RFC 2104 on
 * top of it. OpenSSL marks the three calls as deprecated in favour of EVP; their behaviour is part
 * of its stable ABI. Failure  None: the calls fail only for a bad context.
 */
/* Must stand before the header that it is for. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/sha256.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#define BLOCK_LEN 64

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct adit_sha256), "OpenSSL's state fits");

void adit_sha256_begin(struct adit_sha256 *s)
{
    SHA256_Init((SHA256_CTX *)s->opaque);
}

void adit_sha256_add(struct adit_sha256 *s, struct adit_view data)
{
    SHA256_Update((SHA256_CTX *)s->opaque, data.ptr, data.len);
}

void adit_sha256_end(struct adit_sha256 *s, uint8_t out[ADIT_SHA256_LEN])
{
    SHA256_Final(out, (SHA256_CTX *)s->opaque);
}

void adit_sha256(struct adit_view data, uint8_t out[ADIT_SHA256_LEN])
{
    struct adit_sha256 s;
    adit_sha256_begin(&s);
    adit_sha256_add(&s, data);
    adit_sha256_end(&s, out);
}

/* One of the two nested digests: of the key xor @pad, then @data. */
static void keyed(const uint8_t key[BLOCK_LEN], uint8_t pad, struct adit_view data,
                  uint8_t out[ADIT_SHA256_LEN])
{
    uint8_t block[BLOCK_LEN];
    SHA256_CTX ctx;

    for (size_t i = 0; i < BLOCK_LEN; i++)
        block[i] = key[i] ^ pad;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, block, sizeof block);
    SHA256_Update(&ctx, data.ptr, data.len);
    SHA256_Final(out, &ctx);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&ctx, sizeof ctx);
}

void adit_sha256_hmac(struct adit_view key, struct adit_view data, uint8_t out[ADIT_SHA256_LEN])
{
    uint8_t block[BLOCK_LEN] = {0}, inner[ADIT_SHA256_LEN];

    if (key.len > BLOCK_LEN)
        adit_sha256(key, block);
    else if (key.len)
        memcpy(block, key.ptr, key.len);
    keyed(block, 0x36, data, inner);
    keyed(block, 0x5c, adit_view_mem(inner, sizeof inner), out);
    OPENSSL_cleanse(block, sizeof block);
}
