/* SPDX-License-Identifier: Apache-2.0 */
/* template.json. Oracles: what is taken has its required members and ends every text in its bounds.
 */
#include <stdlib.h>

#include "broker/vmm/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct template_info info;
    struct adit_err err = ADIT_ERR_INIT;
    if (template_parse(adit_view_mem(data, size), &info, &err)) {
        must(err.code == ADIT_ERR_BAD_INPUT && err.msg[0]);
        return 0;
    }
    must(strlen(info.template_id) == TEMPLATE_ID_LEN);
    must(strlen(info.build_id) == TEMPLATE_BUILD_ID_LEN);
    must(info.cpu_count >= 1 && info.memory_mb >= TEMPLATE_MEMORY_MB_MIN);
    must(info.alias_cnt <= TEMPLATE_ALIASES_MAX);
    for (size_t i = 0; i < info.alias_cnt; i++)
        must(info.aliases[i][0] && strlen(info.aliases[i]) < TEMPLATE_ALIAS_CAP);
    must(strlen(info.start_cmd) < TEMPLATE_CMD_CAP && strlen(info.ready_cmd) < TEMPLATE_CMD_CAP);
    must(!info.default_workdir[0] || info.default_workdir[0] == '/');
    size_t env_len = 0;
    while (info.env[env_len]) {
        must(strchr(info.env + env_len, '=') > info.env + env_len);
        env_len += strlen(info.env + env_len) + 1;
    }
    must(env_len < TEMPLATE_ENV_CAP);
    return 0;
}
