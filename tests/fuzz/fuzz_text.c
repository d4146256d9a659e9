/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text forms of values: RFC 3339, base64, hexadecimal, decimals, text inside JSON.
 * Oracles: what is accepted, written and read again is the same; numbers and hexadecimal have one
 * spelling; JSON text is valid, ends where it should, and at most six times as long.
 */
#include "oracle.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/utf8.h"

static void check_rfc3339(struct adit_view v)
{
    int64_t ns, again;
    char text[ADIT_CLOCK_RFC3339_CAP];
    if (adit_clock_parse_rfc3339(v, &ns))
        return;
    adit_clock_format_rfc3339(ns, text);
    ORACLE(adit_clock_parse_rfc3339(adit_view_str(text), &again) == 0);
    ORACLE(ns == again);
}

/* Any bytes as nanoseconds: written and read, they are the same. */
static void check_time(struct adit_view v)
{
    int64_t ns, again;
    char text[ADIT_CLOCK_RFC3339_CAP];
    if (v.len < sizeof ns)
        return;
    memcpy(&ns, v.ptr, sizeof ns);
    adit_clock_format_rfc3339(ns, text);
    ORACLE(adit_clock_parse_rfc3339(adit_view_str(text), &again) == 0);
    ORACLE(ns == again);
}

static void check_base64(struct adit_view v)
{
    size_t len, again_len;
    unsigned char *bytes = malloc(v.len / 4 * 3 + 3), *again = malloc(v.len / 4 * 3 + 6);
    struct adit_buf text;
    adit_buf_init(&text, v.len + 4);
    ORACLE(bytes && again);
    if (adit_base64_decode(v, bytes, &len) == 0) {
        ORACLE(adit_base64_append(&text, bytes, len) == 0);
        ORACLE(text.len >= v.len && text.len - v.len <= 2);
        ORACLE(adit_base64_decode(adit_buf_view(&text), again, &again_len) == 0);
        ORACLE(len == again_len && memcmp(bytes, again, len) == 0);
    }
    adit_buf_fini(&text);
    free(bytes);
    free(again);
}

static void check_base64_of(struct adit_view v)
{
    size_t len;
    struct adit_buf text;
    adit_buf_init(&text, adit_base64_len(v.len));
    ORACLE(adit_base64_append(&text, v.ptr, v.len) == 0);
    unsigned char *back = malloc(text.len / 4 * 3 + 3);
    ORACLE(back);
    ORACLE(adit_base64_decode(adit_buf_view(&text), back, &len) == 0);
    ORACLE(len == v.len && (len == 0 || memcmp(back, v.ptr, len) == 0));
    free(back);
    adit_buf_fini(&text);
}

static void check_hex(struct adit_view v)
{
    unsigned char bytes[64];
    char text[2 * sizeof bytes + 1];
    if (v.len / 2 > sizeof bytes || adit_hex_decode(v, bytes, v.len / 2))
        return;
    adit_hex_encode(bytes, v.len / 2, text);
    ORACLE(adit_view_ieq_str(v, text));
}

static void check_decimal(struct adit_view v)
{
    uint64_t n;
    char text[32];
    if (adit_view_u64(v, UINT64_MAX, &n))
        return;
    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    ORACLE(adit_view_eq_str(v, text));
}

static void check_json_text(struct adit_view v)
{
    struct adit_buf out;
    adit_buf_init(&out, 6 * v.len);
    ORACLE(adit_buf_append_json_text(&out, v) == 0);
    struct adit_view text = adit_buf_view(&out);
    ORACLE(adit_utf8_valid(text));
    ORACLE(!adit_utf8_valid(v) || text.len >= v.len);
    for (size_t i = 0; i < text.len; i++) {
        ORACLE((unsigned char)text.ptr[i] >= 0x20 && text.ptr[i] != 0x7F && text.ptr[i] != '"');
        if (text.ptr[i] != '\\')
            continue;
        ORACLE(++i < text.len && strchr("\"\\bfnrtu", text.ptr[i]));
        ORACLE(text.ptr[i] != 'u' || text.len - i > 4);
    }
    adit_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_view v = adit_view_mem(data, size);
    check_rfc3339(v);
    check_time(v);
    check_base64(v);
    check_base64_of(v);
    check_hex(v);
    check_decimal(v);
    check_json_text(v);
    return 0;
}
