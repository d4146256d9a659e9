/* SPDX-License-Identifier: Apache-2.0 */
/* References to templates: what they may look like, what they find, in which words they fail. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "scheduler/message.h"
#include "scheduler/template_ref.h"
#include "scheduler/templates.h"

#define X128                                                                                       \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                             \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static int put(struct templates *t, const char *id, const char *alias_a, const char *alias_b)
{
    Scheduler__Template m;
    char template_id[64], a[256], b[256], *aliases[] = {a, b};
    scheduler__template__init(&m);
    snprintf(template_id, sizeof(template_id), "%s", id);
    snprintf(a, sizeof(a), "%s", alias_a ? alias_a : "");
    snprintf(b, sizeof(b), "%s", alias_b ? alias_b : "");
    m.template_id = template_id;
    m.aliases = aliases;
    m.n_aliases = (size_t)(alias_a != NULL) + (alias_b != NULL);
    return templates_put(t, message_clone(&m.base), NULL);
}

/* @found: an id, or NULL; then @message is what the error says. */
static const struct {
    const char *ref, *found, *message;
} cases[] = {
    {"base", "aaa1", NULL},
    {"  base\t", "aaa1", NULL},
    {"BASE", "aaa1", NULL},
    {"base:default", "aaa1", NULL},
    {"base:DEFAULT", "aaa1", NULL},
    {"aaa1", "aaa1", NULL},
    {"aaa1:default", "aaa1", NULL},
    {"team_1/base-2", "bbb2", NULL},
    {"Team_1/Base-2:default", "bbb2", NULL},
    {"aaa2", "aaa2", NULL}, /* an id, though another template calls itself so */
    {"base:v2", NULL, "tag 'v2' does not exist for template 'base'"},
    {"team_1/base-2:1.0_x-y", NULL, "tag '1.0_x-y' does not exist for template 'team_1/base-2'"},
    {"nope", NULL, "template 'nope' not found"},
    {" Nope:v1 ", NULL, "template 'nope' not found"},
    {"base-2", NULL, "template 'base-2' not found"},
    {"team_1/base", NULL, "template 'team_1/base' not found"},
    {X128, NULL, "template '" X128 "' not found"},
    {"", NULL, "Invalid template reference: it is empty"},
    {" \t ", NULL, "Invalid template reference: it is empty"},
    {":default", NULL, "Invalid template reference: it is empty"},
    {"/", NULL, "Invalid template reference: a name is"},
    {"/base", NULL, "Invalid template reference: a name is"},
    {"team/", NULL, "Invalid template reference: a name is"},
    {"a/b/c", NULL, "Invalid template reference: a name is"},
    {"ba se", NULL, "Invalid template reference: a name is"},
    {"b\xc3\xa4se", NULL, "Invalid template reference: a name is"},
    {"..", NULL, "Invalid template reference: a name is"},
    {"../base", NULL, "Invalid template reference: a name is"},
    {"base\n", NULL, "Invalid template reference: a name is"},
    {X128 "x", NULL, "Invalid template reference: a name is"},
    {X128 "x/base", NULL, "Invalid template reference: a name is"},
    {"base:", NULL, "Invalid template reference: a tag is 1"},
    {"base:a:b", NULL, "Invalid template reference: a tag is 1"},
    {"base:a/b", NULL, "Invalid template reference: a tag is 1"},
    {"base: v1", NULL, "Invalid template reference: a tag is 1"},
    {"base:" X128 "x", NULL, "Invalid template reference: a tag is 1"},
    {"base:01234567-89ab-cdef-0123-456789ABCDEF", NULL,
     "Invalid template reference: a tag is no UUID"},
    {"base:01234567-89ab-cdef-0123-456789abcdeg", NULL,
     "tag '01234567-89ab-cdef-0123-456789abcdeg' does not exist for template 'base'"},
};

START_TEST(templates_resolve_by_table)
{
    const Scheduler__Template *found = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    struct templates t;
    templates_init(&t);
    ck_assert_int_eq(put(&t, "aaa1", "base", "aaa2"), 0);
    ck_assert_int_eq(put(&t, "aaa2", NULL, NULL), 0);
    ck_assert_int_eq(put(&t, "bbb2", "team_1/base-2", NULL), 0);
    int rc = templates_resolve(&t, adit_view_str(cases[_i].ref), &found, &err);
    if (cases[_i].found) {
        ck_assert_msg(rc == 0, "'%s': %s", cases[_i].ref, err.msg);
        ck_assert_str_eq(found->template_id, cases[_i].found);
    } else {
        bool is_invalid = strncmp(cases[_i].message, "Invalid", 7) == 0;
        ck_assert_msg(rc == (is_invalid ? ADIT_ERR_BAD_INPUT : ADIT_ERR_NOT_FOUND), "'%s'",
                      cases[_i].ref);
        ck_assert_msg(strncmp(err.msg, cases[_i].message, strlen(cases[_i].message)) == 0,
                      "'%s': %s", cases[_i].ref, err.msg);
    }
    templates_fini(&t);
}
END_TEST

START_TEST(template_ref_refuses_an_embedded_nul)
{
    struct template_ref r;
    ck_assert_int_eq(template_ref_parse((struct adit_view)ADIT_VIEW("base\0x"), &r, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(templates_give_an_alias_to_the_last_one_that_was_put)
{
    struct templates t;
    templates_init(&t);
    ck_assert_int_eq(put(&t, "aaa1", "base", "old"), 0);
    ck_assert_int_eq(put(&t, "bbb2", "base", NULL), 0);
    ck_assert_str_eq(templates_by_alias(&t, "base")->template_id, "bbb2");
    /* The service writes the loser again: that must not take the alias from the winner. */
    ck_assert_int_eq(put(&t, "aaa1", "old", NULL), 0);
    ck_assert_str_eq(templates_by_alias(&t, "base")->template_id, "bbb2");
    ck_assert_int_eq(put(&t, "bbb2", NULL, NULL), 0);
    ck_assert_ptr_null(templates_by_alias(&t, "base"));
    ck_assert_str_eq(templates_by_alias(&t, "old")->template_id, "aaa1");
    ck_assert_uint_eq(templates_cnt(&t), 2);
    templates_fini(&t);
}
END_TEST

START_TEST(templates_take_what_was_committed_beyond_the_maximum)
{
    struct templates t;
    templates_init(&t);
    for (int i = 0; i < TEMPLATES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        ck_assert_int_eq(put(&t, id, NULL, NULL), 0);
    }
    ck_assert_int_eq(put(&t, "onemore", NULL, NULL), 0); /* a store that has it must load */
    ck_assert_int_eq(put(&t, "t0", "again", NULL), 0);
    templates_fini(&t);
}
END_TEST

SUITE_MAIN_WITH("templates",
                TESTS(template_ref_refuses_an_embedded_nul,
                      templates_give_an_alias_to_the_last_one_that_was_put,
                      templates_take_what_was_committed_beyond_the_maximum),
                LOOPS({templates_resolve_by_table, sizeof(cases) / sizeof(cases[0])}))
