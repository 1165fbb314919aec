/* plugin.c - what a plugin of commands (RZ_COMMANDS_PLUGIN) does when it is loaded and when it ends: it keeps
 * the host's table, and nothing else.
 */
#include <stdlib.h>

#include "command.h"

int32_t rz_cli_init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)config;
    struct rz_cli *cli = calloc(1, sizeof(*cli));
    if (!cli)
        return rz_fail(err, RZ_ENOMEM, "commands", "no memory");
    cli->host = host;
    *self = cli;
    return RZ_OK;
}

void rz_cli_fini(void *self)
{
    free(self);
}
