/* SPDX-License-Identifier: Apache-2.0 */
/* The host's processor by name. */
#include "broker/machine.h"

#include "tests/unit/suite.h"

static struct machine m;

static void parse(const char *text)
{
    memset(&m, 0, sizeof(m));
    machine_parse(adit_view_str(text), &m);
}

START_TEST(machine_names_the_first_processor)
{
    parse("processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
          "model name\t: Intel(R) Xeon(R): 2.50GHz\nstepping\t: 4\n\n"
          "processor\t: 1\ncpu family\t: 7\nmodel\t\t: 86\nmodel name\t: other\n\n");
    ck_assert_str_eq(m.cpu_family, "6");
    ck_assert_str_eq(m.cpu_model, "85");
    ck_assert_str_eq(m.cpu_model_name, "Intel(R) Xeon(R): 2.50GHz");
}
END_TEST

START_TEST(machine_leaves_empty_what_is_not_told)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "model name",
                                        ":\n",
                                        "processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n\n",
                                        "model name\t:\nmodel\t:   \n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        parse(texts[i]);
        ck_assert(!m.cpu_family[0] && !m.cpu_model[0] && !m.cpu_model_name[0]);
    }
}
END_TEST

START_TEST(machine_takes_printable_text_that_fits)
{
    char text[300];
    parse("model name\t: a\tb\033[31m\xc3\xa4\n\n");
    ck_assert_str_eq(m.cpu_model_name, "ab[31m");
    snprintf(text, sizeof(text), "model name\t: %0200d\n\n", 7);
    parse(text);
    ck_assert_uint_eq(strlen(m.cpu_model_name), MACHINE_TEXT_CAP - 1);
}
END_TEST

START_TEST(machine_knows_this_host)
{
    machine_read(&m);
    ck_assert_str_ne(m.cpu_architecture, "");
}
END_TEST

SUITE_MAIN("machine", machine_names_the_first_processor, machine_leaves_empty_what_is_not_told,
           machine_takes_printable_text_that_fits, machine_knows_this_host)
