/* session.c - --session FILE of the commands that generate text: rz_engine.restore before, save after. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "generate.h"

static const struct rz_engine *engine_of(const struct rz_gen *g, struct rz_err *err)
{
    const struct rz_engine *e = g->m.api->engine(g->m.model);
    if (e && RZ_HAS(e, restore) && e->save)
        return e;
    rz_fail(err, RZ_EUNSUPPORTED, g->command, "--session: this engine keeps no sessions");
    return NULL;
}

int32_t rz_gen_restore(const struct rz_gen *g, const char *path, struct rz_err *err)
{
    const struct rz_engine *e = engine_of(g, err);
    if (!e)
        return RZ_EUNSUPPORTED;
    if (access(path, F_OK))
        return RZ_OK;
    int64_t n = e->restore(e->ctx, path, err);
    return n < 0 ? (int32_t)n : RZ_OK;
}

int32_t rz_gen_save(const struct rz_gen *g, const char *path, const struct rz_buf *answer, uint32_t flags,
                    struct rz_err *err)
{
    const struct rz_engine *e = engine_of(g, err);
    uint64_t more = answer->len / sizeof(int32_t), n = g->request.n_prompt + more;
    if (!e || !rz_buf_ok(answer) || n > UINT32_MAX)
        return e ? rz_fail(err, RZ_ENOMEM, g->command, "no memory for the session") : RZ_EUNSUPPORTED;
    int32_t *text = malloc(n * sizeof(*text) + 1);
    if (!text)
        return rz_fail(err, RZ_ENOMEM, g->command, "no memory for the session");
    memcpy(text, g->request.prompt, g->request.n_prompt * sizeof(*text));
    if (more)
        memcpy(text + g->request.n_prompt, answer->data, more * sizeof(*text));
    int64_t saved = e->save(e->ctx, text, (uint32_t)n, path, err);
    free(text);
    if (!saved && !(flags & RZ_COMMAND_QUIET))
        fprintf(stderr, "rz: --session: %llu tokens are less than a page: nothing is saved\n",
                (unsigned long long)n);
    return saved < 0 ? (int32_t)saved : RZ_OK;
}
