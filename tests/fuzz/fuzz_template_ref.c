/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to templates. Input: the reference.
 * Oracles: what is accepted is made of the characters that are allowed, says the same when it is
 * written out and read again, and in upper case; white space around it changes nothing.
 */
#include "oracle.h"

#include <ctype.h>
#include <string.h>

#include "scheduler/template_ref.h"

static void check_chars(const char *text, const char *allowed)
{
    ORACLE(text[0]);
    ORACLE(strspn(text, allowed) == strlen(text));
}

static bool is_same(const struct template_ref *a, const struct template_ref *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->tag, b->tag) == 0;
}

static void check_round_trip(const struct template_ref *r)
{
    struct template_ref again;
    char text[2 * TEMPLATE_REF_NAME_CAP];
    int len = snprintf(text, sizeof(text), " %s:%s\t", r->name, r->tag);
    ORACLE(len > 0 && (size_t)len < sizeof(text));
    ORACLE(template_ref_parse(adit_view_mem(text, (size_t)len), &again, NULL) == 0);
    ORACLE(is_same(r, &again));
    for (int i = 0; i < len; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    ORACLE(template_ref_parse(adit_view_mem(text, (size_t)len), &again, NULL) == 0);
    ORACLE(is_same(r, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template_ref r;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = template_ref_parse(adit_view_mem(data, size), &r, &err);

    if (rc) {
        ORACLE(rc == ADIT_ERR_BAD_INPUT && err.code == rc);
        ORACLE(strncmp(err.msg, "Invalid template reference: ", 28) == 0);
        return 0;
    }
    check_chars(r.name, "abcdefghijklmnopqrstuvwxyz0123456789-_/");
    check_chars(r.tag, "abcdefghijklmnopqrstuvwxyz0123456789-_.");
    ORACLE(strlen(r.name) <= 2 * TEMPLATE_REF_PART_MAX + 1);
    ORACLE(strlen(r.tag) <= TEMPLATE_REF_PART_MAX);
    const char *slash = strchr(r.name, '/');
    ORACLE(!slash || (slash != r.name && slash[1] && !strchr(slash + 1, '/')));
    check_round_trip(&r);
    return 0;
}
