/* convert.c - `rz convert FOLDER OUT.gguf`: a model in Hugging Face form as one GGUF file.
 *
 * The format plugin has already given the tensors GGUF's names and said what makes weights of their bytes;
 * here they only get a type. Vectors and small tables become F32, which every reader expects of them.
 */
#include <string.h>
#include <strings.h>

#include "numeric.h"
#include "tools.h"

#define QUANTIZATION_VERSION 2u

struct convert_values {
    struct rz_cli_value type, yes;
};

#define AT(field) offsetof(struct convert_values, field)

static const struct rz_cli_option options[] = {
    {.name = "type", .type = OPT_TEXT, .at = AT(type)},
    {.name = "yes", .letter = 'y', .type = OPT_FLAG, .at = AT(yes)},
    {.name = NULL},
};

static int32_t read_type(const struct rz_cli_value *v, int32_t *out, struct rz_err *err)
{
    static const int32_t known[] = {RZ_TYPE_F32, RZ_TYPE_F16, RZ_TYPE_BF16, RZ_TYPE_Q8_0};
    char shown[40];
    *out = RZ_TYPE_ANY;
    if (!v->given || !strcasecmp(v->text, "auto"))
        return RZ_OK;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcasecmp(v->text, rz_type_info(known[i])->name)) {
            *out = known[i];
            return RZ_OK;
        }
    return rz_fail(err, RZ_ECONFIG, "convert",
                   "--type %s: not F32, F16, BF16, Q8_0 or auto (rz quantize makes the other types)",
                   rz_show(shown, sizeof(shown), v->text, strlen(v->text)));
}

static bool is_float(int32_t type)
{
    return type == RZ_TYPE_F32 || type == RZ_TYPE_F16 || type == RZ_TYPE_BF16;
}

/* Types that GGUF readers know how to keep as they are. */
static bool is_kept(int32_t type)
{
    return rz_type_info(type)->block > 1 || (type >= RZ_TYPE_I8 && type <= RZ_TYPE_I64);
}

static int32_t choose(const struct rz_tensor *t, int32_t wish)
{
    if (is_kept(t->type))
        return t->type;
    if (!rz_tools_may_shrink(t))
        return RZ_TYPE_F32;
    if (wish == RZ_TYPE_ANY)
        return is_float(t->type) ? t->type : RZ_TYPE_F32;
    return rz_tools_fitting(wish, t->dims[0]);
}

/* The name of the type that most of the bytes have. */
static const struct rz_tools_mix *main_type(const struct rz_tools_job *job)
{
    static const char *const names[] = {"F32", "F16", "BF16", "Q8_0"};
    uint64_t most = 0;
    const struct rz_tools_mix *best = NULL;
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        const struct rz_tools_mix *m = rz_tools_mix_find(names[k]);
        uint64_t elements = 0;
        for (uint64_t i = 0; i < job->n; i++)
            if (job->types[i] == m->base && rz_tools_may_shrink(&job->from[i]))
                elements += job->from[i].dims[0] * job->from[i].dims[1] * job->from[i].dims[2];
        if (elements > most) {
            most = elements;
            best = m;
        }
    }
    return best;
}

static int32_t work(const struct rz_cli *cli, struct rz_tools_job *job, const struct convert_values *v,
                    struct rz_err *err)
{
    int32_t wish;
    bool quantised = false;
    int32_t code = read_type(&v->type, &wish, err);
    if (!code)
        code = rz_tools_job_open(job, cli, err);
    if (code)
        return code;
    for (uint64_t i = 0; i < job->n; i++) {
        job->types[i] = choose(&job->from[i], wish);
        quantised |= rz_type_info(job->from[i].type)->block > 1;
    }
    const struct rz_tools_mix *m = main_type(job);
    code = rz_tools_meta_set_u32(&job->meta, "general.quantization_version", QUANTIZATION_VERSION, err);
    if (!code && m && !quantised)
        code = rz_tools_meta_set_u32(&job->meta, "general.file_type", m->file_type, err);
    if (!code && quantised)
        rz_tools_warn(cli, "%s: its quantised tensors stay as they are; rz quantize changes them", job->in);
    job->what = m ? m->name : "mixed";
    return code ? code : rz_tools_job_run(job, err);
}

int32_t rz_tools_convert(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                         struct rz_err *err)
{
    struct convert_values v = {0};
    const char *words[2];
    uint32_t n;
    int status = rz_cli_parse_words(options, argc, argv, &v, words, 2, &n, err);
    if (status)
        return status;
    if (n != 2)
        return rz_cli_status(
            rz_fail(err, RZ_ECONFIG, "convert", "needs FOLDER OUT.gguf (see rz convert --help)"));
    struct rz_tools_job job = {.command = "convert",
                               .in = words[0],
                               .out = words[1],
                               .replace = v.yes.given,
                               .verbose = flags & RZ_COMMAND_VERBOSE,
                               .quiet = flags & RZ_COMMAND_QUIET,
                               .json = flags & RZ_COMMAND_JSON};
    int32_t code = work(self, &job, &v, err);
    rz_tools_job_close(&job);
    return code ? rz_cli_status(code) : 0;
}
