/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox records. Oracles: no crash, no leak; a refusal has a message; a record that is taken
 * names a valid sandbox, and written and read again it is the same text.
 */
#include "broker/node/record.h"
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct record a, b;
    struct adit_buf first, second;
    struct adit_err err = ADIT_ERR_INIT;
    if (record_decode(adit_view_mem(data, len), &a, &err)) {
        ORACLE(err.msg[0] != '\0');
        return 0;
    }
    ORACLE(sandbox_id_is_valid(adit_view_str(a.sandbox_id)));
    adit_buf_init(&first, 2 * RECORD_CAP);
    adit_buf_init(&second, 2 * RECORD_CAP);
    ORACLE(record_encode(&a, &first) == 0);
    ORACLE(record_decode(adit_buf_view(&first), &b, &err) == 0);
    ORACLE(record_encode(&b, &second) == 0);
    ORACLE(adit_view_eq(adit_buf_view(&first), adit_buf_view(&second)));
    adit_buf_fini(&first);
    adit_buf_fini(&second);
    record_fini(&a);
    record_fini(&b);
    return 0;
}
