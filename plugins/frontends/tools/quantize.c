/* quantize.c - `rz quantize IN OUT TYPE`: a model file with its matrices in another type. */
#include <string.h>
#include <strings.h>

#include "encode.h"
#include "nearest.h"
#include "numeric.h"
#include "tools.h"

#define QUANTIZATION_VERSION 2u /* of the block layouts, general.quantization_version */

struct quantize_values {
    struct rz_cli_value importance, yes, pure, dry, output_type, embedding_type;
};

#define AT(field) offsetof(struct quantize_values, field)

static const struct rz_cli_option options[] = {
    {.name = "imatrix", .type = OPT_TEXT, .at = AT(importance)},
    {.name = "yes", .letter = 'y', .type = OPT_FLAG, .at = AT(yes)},
    {.name = "pure", .type = OPT_FLAG, .at = AT(pure)},
    {.name = "dry-run", .type = OPT_FLAG, .at = AT(dry)},
    {.name = "output-type", .type = OPT_TEXT, .at = AT(output_type)},
    {.name = "embedding-type", .type = OPT_TEXT, .at = AT(embedding_type)},
    {.name = NULL},
};

/* A type by its own name, for one tensor. */
static int32_t plain_type(const struct rz_cli_value *v, const char *option, int32_t *out, struct rz_err *err)
{
    char shown[40];
    *out = RZ_TYPE_NONE;
    if (!v->given)
        return RZ_OK;
    for (int32_t t = 0; t <= RZ_TYPE_Q2_0; t++)
        if ((rz_encode_knows(t) || t == RZ_TYPE_F32) && !strcasecmp(rz_type_info(t)->name, v->text)) {
            *out = t;
            return RZ_OK;
        }
    return rz_fail(err, RZ_ECONFIG, "quantize", "%s %s: no such type (Q6_K, Q8_0, F16, ...)", option,
                   rz_show(shown, sizeof(shown), v->text, strlen(v->text)));
}

static int32_t find_mix(const char *name, const struct rz_tools_mix **out, struct rz_err *err)
{
    struct rz_nearest near;
    const struct rz_tools_mix *m;
    char upper[RZ_NEAREST_MAX + 1] = "", shown[40], hint[96];
    *out = rz_tools_mix_find(name);
    if (*out)
        return RZ_OK;
    for (size_t i = 0; name[i] && i < sizeof(upper) - 1; i++)
        upper[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
    rz_nearest_init(&near, upper);
    for (uint32_t i = 0; (m = rz_tools_mix_at(i)); i++)
        rz_nearest_try(&near, m->name);
    return rz_fail(err, RZ_ECONFIG, "quantize", "%s: no such type%s; rz quantize --help lists them",
                   rz_show(shown, sizeof(shown), name, strlen(name)),
                   rz_nearest_hint(&near, hint, sizeof(hint)));
}

/* What the file says of itself. */
static int32_t describe(struct rz_tools_job *job, const struct rz_tools_mix *mix,
                        const struct rz_tools_importance *w, struct rz_err *err)
{
    struct rz_str path = {w->path, w->path ? strlen(w->path) : 0};
    int32_t code =
        rz_tools_meta_set_u32(&job->meta, "general.quantization_version", QUANTIZATION_VERSION, err);
    if (!code)
        code = rz_tools_meta_set_u32(&job->meta, "general.file_type", mix->file_type, err);
    if (code || !w->n)
        return code;
    struct rz_tools_meta seen;
    code = rz_tools_meta_init(&seen, w->tables, 0, err);
    const struct rz_meta *sets = code ? NULL : rz_tools_meta_find(&seen, "imatrix.datasets");
    uint32_t chunks;
    if (!code)
        code = rz_tools_meta_set_str(&job->meta, "quantize.imatrix.file", path, err);
    if (!code && sets && sets->elem_type == RZ_META_STR && sets->n)
        code = rz_tools_meta_set_str(&job->meta, "quantize.imatrix.dataset",
                                     *(const struct rz_str *)sets->data, err);
    if (!code)
        code = rz_tools_meta_set_u32(&job->meta, "quantize.imatrix.entries_count", (uint32_t)w->n, err);
    if (!code && rz_tools_meta_u32(&seen, "imatrix.chunk_count", &chunks))
        code = rz_tools_meta_set_u32(&job->meta, "quantize.imatrix.chunks_count", chunks, err);
    rz_tools_meta_free(&seen);
    return code;
}

/* Before anything is written: can every tensor become what it shall? */
static int32_t check_types(const struct rz_tools_job *job, const struct rz_cli *cli, struct rz_err *err)
{
    bool twice = false;
    for (uint64_t i = 0; i < job->n; i++) {
        const struct rz_tensor *t = &job->from[i];
        int32_t to = job->types[i];
        uint32_t index;
        char name[96];
        if (t->type == to)
            continue;
        twice |= rz_type_info(t->type)->block > 1;
        if (!rz_encode_needs_imatrix(to) ||
            (job->importance && rz_map_get(&job->importance->names, t->name.data, t->name.len, &index)))
            continue;
        rz_show(name, sizeof(name), t->name.data, t->name.len);
        if (rz_tools_is_vocabulary(t))
            return rz_fail(err, RZ_EINVAL, name,
                           "%s is of no use without an importance matrix, which has nothing of this tensor: "
                           "name another type with --embedding-type or --output-type",
                           rz_type_info(to)->name);
        return rz_fail(err, RZ_EINVAL, name, "%s is of no use without an importance matrix%s",
                       rz_type_info(to)->name,
                       job->importance ? ", and the given one has nothing of this tensor"
                                       : ": give one with --imatrix FILE (made by rz imatrix)");
    }
    if (twice)
        rz_tools_warn(cli, "%s: is quantised already; quantising again loses more than from the original",
                      job->in);
    return RZ_OK;
}

static int32_t work(const struct rz_cli *cli, struct rz_tools_job *job, struct rz_tools_importance *w,
                    const struct quantize_values *v, const char *type, struct rz_err *err)
{
    struct rz_tools_choice choice = {.meta = &job->meta, .pure = v->pure.given};
    uint64_t fallbacks = 0;
    int32_t code = find_mix(type, &choice.mix, err);
    if (!code)
        code = plain_type(&v->output_type, "--output-type", &choice.output_type, err);
    if (!code)
        code = plain_type(&v->embedding_type, "--embedding-type", &choice.embedding_type, err);
    if (!code)
        code = rz_tools_job_open(job, cli, err);
    if (!code && v->importance.given) {
        code = rz_tools_importance_open(w, cli, v->importance.text, err);
        job->importance = w;
        choice.importance = true;
    }
    if (!code)
        code = rz_tools_mix_types(&choice, job->from, job->n, job->types, &fallbacks, err);
    if (!code)
        code = describe(job, choice.mix, w, err);
    if (!code)
        code = check_types(job, cli, err);
    if (code)
        return code;
    if (fallbacks)
        rz_tools_warn(cli, "%llu of %llu tensors get a wider type: their rows are no whole number of blocks",
                      (unsigned long long)fallbacks, (unsigned long long)job->n);
    job->what = choice.mix->name;
    return rz_tools_job_run(job, err);
}

int32_t rz_tools_quantize(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err)
{
    struct quantize_values v = {0};
    struct rz_tools_importance w = {0};
    const char *words[3];
    uint32_t n;
    int status = rz_cli_parse_words(options, argc, argv, &v, words, 3, &n, err);
    if (status)
        return status;
    if (n != 3)
        return rz_cli_status(
            rz_fail(err, RZ_ECONFIG, "quantize", "needs IN OUT TYPE (see rz quantize --help)"));
    struct rz_tools_job job = {.command = "quantize",
                               .in = words[0],
                               .out = words[1],
                               .replace = v.yes.given,
                               .verbose = flags & RZ_COMMAND_VERBOSE,
                               .quiet = flags & RZ_COMMAND_QUIET,
                               .json = flags & RZ_COMMAND_JSON,
                               .dry = v.dry.given};
    int32_t code = work(self, &job, &w, &v, words[2], err);
    rz_tools_job_close(&job);
    rz_tools_importance_close(&w);
    return code ? rz_cli_status(code) : 0;
}
