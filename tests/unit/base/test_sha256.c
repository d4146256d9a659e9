/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4 examples) and HMAC-SHA256 (RFC 4231). */
#include "tests/unit/suite.h"

#include "base/encode.h"
#include "base/sha256.h"

static void expect(const uint8_t digest[ADIT_SHA256_LEN], const char *hex)
{
    char text[2 * ADIT_SHA256_LEN + 1];
    adit_hex_encode(digest, ADIT_SHA256_LEN, text);
    ck_assert_str_eq(text, hex);
}

START_TEST(sha256_matches_fips_180_4)
{
    uint8_t out[ADIT_SHA256_LEN];
    adit_sha256(adit_view_mem(NULL, 0), out);
    expect(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    adit_sha256(adit_view_str("abc"), out);
    expect(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    adit_sha256(adit_view_str("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), out);
    expect(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}
END_TEST

START_TEST(hmac_sha256_matches_rfc_4231)
{
    uint8_t out[ADIT_SHA256_LEN];
    char key[131];
    memset(key, 0x0b, 20);
    adit_sha256_hmac(adit_view_mem(key, 20), adit_view_str("Hi There"), out);
    expect(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    adit_sha256_hmac(adit_view_str("Jefe"), adit_view_str("what do ya want for nothing?"), out);
    expect(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    adit_sha256_hmac(adit_view_mem(key, sizeof key),
                     adit_view_str("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    expect(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
END_TEST

START_TEST(hmac_sha256_takes_empty_key_and_data)
{
    uint8_t out[ADIT_SHA256_LEN];
    adit_sha256_hmac(adit_view_mem(NULL, 0), adit_view_mem(NULL, 0), out);
    expect(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}
END_TEST

SUITE_MAIN("sha256", sha256_matches_fips_180_4, hmac_sha256_matches_rfc_4231,
           hmac_sha256_takes_empty_key_and_data)
