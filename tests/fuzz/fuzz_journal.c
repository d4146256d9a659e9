/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests say and claim: console lines and measurements. Oracles: a line becomes one line of
 * the log, bounded, in which no control character is left, and is read again with its level; a
 * measurement that is taken keeps its ranges and comes back from its record.
 */
#include <stdlib.h>

#include "broker/node/journal_entry.h"
#include "broker/node/sample.h"
#include "oracle.h"

static void check_line(struct adit_view said)
{
    struct adit_buf out;
    struct journal_entry e;
    json_t *object = NULL;
    adit_buf_init(&out, JOURNAL_ENTRY_CAP);
    ORACLE(journal_entry_append_console(&out, 1, said) == 0);
    struct adit_view rest = adit_buf_view(&out);
    for (size_t i = 0; i + 1 < rest.len; i++)
        ORACLE((unsigned char)rest.ptr[i] >= ' ' && rest.ptr[i] != 0x7f);
    ORACLE(journal_entry_next(&rest, &e) && rest.len == 0 && e.at_ms == 1);
    ORACLE(journal_entry_parse(&e, &object) == 0);
    ORACLE(strcmp(json_string_value(json_object_get(object, "level")),
                  adit_log_level_name(e.level)) == 0);
    ORACLE(json_is_string(json_object_get(object, "logger")));
    json_t *doc = journal_entry_document(&e, object);
    ORACLE(doc);
    json_decref(doc);
    json_decref(object);
    adit_buf_fini(&out);
}

static void check_file(struct adit_view text)
{
    struct journal_entry e;
    size_t len = text.len;
    while (journal_entry_next(&text, &e)) {
        ORACLE(text.len < len);
        ORACLE(e.at_ms >= 0 && e.json.len >= 2);
        len = text.len;
    }
}

static void check_sample(struct adit_view text)
{
    struct sample s, back;
    uint8_t record[SAMPLE_LEN];
    if (sample_parse(text, &s, NULL))
        return;
    ORACLE(s.cpu_cnt <= SAMPLE_CPUS_MAX && s.cpu_centi_pct <= 10000);
    ORACLE(s.mem_used <= s.mem_total && s.disk_used <= s.disk_total);
    sample_encode(&s, record);
    ORACLE(sample_decode(record, &back) && memcmp(&s, &back, sizeof(s)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct adit_view text = adit_view_mem(data, len);
    check_line(text);
    check_file(text);
    check_sample(text);
    return 0;
}
