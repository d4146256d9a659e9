/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a unit test program.
 *
 *     SUITE_MAIN("err", err_does_this, err_does_that)
 *     SUITE_MAIN_WITH("url", .fixtures = {{setup, teardown}}, TESTS(url_splits_targets),
 *                     LOOPS({url_decodes_every_byte, 256}))
 */
#ifndef ADIT_TESTS_UNIT_SUITE_H
#define ADIT_TESTS_UNIT_SUITE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* For a test that hangs; no test needs it, however slow the machine is. */
#define SUITE_TIMEOUT_S 120

/* Tests run in the order of their list, those of a loop once for each _i from 0 to cnt - 1.
 * Fixtures are set up in order and torn down in reverse, in the test's own process. */
struct suite {
    const char *name;
    struct {
        SFun setup, teardown;
    } fixtures[2];
    const TTest *const *tests; /* NULL ends it */
    const struct suite_loop {
        const TTest *test;
        size_t cnt;
    } * loops; /* a NULL test ends it */
};

#define TESTS(...)                                                                                 \
    .tests = (const TTest *const[])                                                                \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define LOOPS(...)                                                                                 \
    .loops = (const struct suite_loop[])                                                           \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, 0                                                                                \
        }                                                                                          \
    }

/* Return: the exit status of the program. */
static inline int suite_run(const struct suite *s)
{
    Suite *suite = suite_create(s->name);
    TCase *tcase = tcase_create(s->name);
    for (size_t i = 0; i < sizeof(s->fixtures) / sizeof(s->fixtures[0]); i++)
        if (s->fixtures[i].setup)
            tcase_add_checked_fixture(tcase, s->fixtures[i].setup, s->fixtures[i].teardown);
    for (const TTest *const *t = s->tests; t && *t; t++)
        tcase_add_test(tcase, *t);
    for (const struct suite_loop *l = s->loops; l && l->test; l++)
        tcase_add_loop_test(tcase, l->test, 0, (int)l->cnt);
    tcase_set_timeout(tcase, SUITE_TIMEOUT_S);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A test leaves out what this machine cannot do, and says what it lacks. */
static inline void suite_skip(const char *test, const char *needs)
{
    printf("SKIPPED %s: needs %s\n", test, needs);
}

#define SUITE_MAIN_WITH(title, ...)                                                                \
    int main(void)                                                                                 \
    {                                                                                              \
        return suite_run(&(struct suite){.name = (title), __VA_ARGS__});                           \
    }

#define SUITE_MAIN(title, ...) SUITE_MAIN_WITH(title, TESTS(__VA_ARGS__))

#endif
