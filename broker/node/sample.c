/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measurements of sandboxes.
 *
 * Theory of operation
 *
 * What: text of envd → struct sample → a record of SAMPLE_LEN bytes in this machine's byte order.
 * Its last word is computed from the others, so that a record that a crash left half written, or a
 * hole, is not taken for one.
 * Trust: the text is a guest's. Every figure has a range and "used" is at most "total", so that
 * whatever is computed from a sample neither overflows nor divides by zero.
 */
#include "broker/node/sample.h"

#include <math.h>

#include "broker/jtext.h"

#define MAGIC 0x41445331u /* "ADS1" */
#define WORDS (SAMPLE_LEN / sizeof(uint32_t))

struct form {
    struct sample sample;
    uint32_t magic, check;
};
_Static_assert(sizeof(struct form) == SAMPLE_LEN, "a record has no padding");

static int take_number(const json_t *doc, const char *key, double max, double *out,
                       struct adit_err *err)
{
    const json_t *v = json_object_get(doc, key);
    double n = json_is_number(v) ? json_number_value(v) : -1;
    if (!isfinite(n) || n < 0 || n > max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is missing or out of range", key);
    *out = n;
    return 0;
}

static int take_bytes(const json_t *doc, const char *key, uint64_t max, uint64_t *out,
                      struct adit_err *err)
{
    const json_t *v = json_object_get(doc, key);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    if (n < 0 || (uint64_t)n > max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is missing or out of range", key);
    *out = (uint64_t)n;
    return 0;
}

static int take_all(const json_t *doc, struct sample *s, struct adit_err *err)
{
    double cpus = 0, pct = 0;
    int rc;
    if ((rc = take_number(doc, "cpu_count", SAMPLE_CPUS_MAX, &cpus, err)) ||
        (rc = take_number(doc, "cpu_used_pct", 100, &pct, err)) ||
        (rc = take_bytes(doc, "mem_total", SAMPLE_BYTES_MAX, &s->mem_total, err)) ||
        (rc = take_bytes(doc, "mem_used", s->mem_total, &s->mem_used, err)) ||
        (rc = take_bytes(doc, "mem_cache", SAMPLE_BYTES_MAX, &s->mem_cache, err)) ||
        (rc = take_bytes(doc, "disk_total", SAMPLE_BYTES_MAX, &s->disk_total, err)) ||
        (rc = take_bytes(doc, "disk_used", s->disk_total, &s->disk_used, err)))
        return rc;
    s->cpu_cnt = (uint32_t)cpus;
    s->cpu_centi_pct = (uint32_t)(pct * 100 + 0.5);
    return 0;
}

int sample_parse(struct adit_view text, struct sample *out, struct adit_err *err)
{
    json_t *doc = NULL;
    int rc = jtext_parse(text, &doc, err);
    memset(out, 0, sizeof(*out));
    if (rc == 0)
        rc = take_all(doc, out, err);
    json_decref(doc);
    return rc;
}

static uint32_t check_of(const struct form *f)
{
    uint32_t words[WORDS], sum = MAGIC;
    memcpy(words, f, sizeof(words));
    for (size_t i = 0; i + 1 < WORDS; i++)
        sum = (sum << 5 | sum >> 27) ^ (words[i] * 0x9e3779b1u);
    return sum;
}

void sample_encode(const struct sample *s, uint8_t out[SAMPLE_LEN])
{
    struct form f = {.sample = *s, .magic = MAGIC};
    f.check = check_of(&f);
    memcpy(out, &f, SAMPLE_LEN);
}

bool sample_decode(const uint8_t in[SAMPLE_LEN], struct sample *out)
{
    struct form f;
    memcpy(&f, in, SAMPLE_LEN);
    if (f.magic != MAGIC || f.check != check_of(&f))
        return false;
    *out = f.sample;
    return true;
}
