/* input.c - what the commands read: texts, token ids, and the model that -m names.
 *
 * Everything is bounded by RZ_CLI_INPUT_MAX; ids are checked against the vocabulary here, so that a
 * message can name the file and the index.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checked.h"
#include "command.h"

#define READ_BYTES ((size_t)64 << 10)

int rz_cli_status(int32_t code)
{
    return code == RZ_ECONFIG ? 2 : 1;
}

int32_t rz_cli_read(const char *path, struct rz_buf *out, struct rz_err *err)
{
    bool standard = !path || !strcmp(path, "-");
    const char *where = standard ? "standard input" : path;
    int fd = standard ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    int32_t code = RZ_OK;
    if (fd < 0)
        return rz_fail(err, RZ_EIO, where, "cannot open: %s", strerror(errno));
    for (;;) {
        char *at = rz_buf_reserve(out, READ_BYTES);
        ssize_t n = at ? read(fd, at, READ_BYTES) : 0;
        if (!at && out->len + READ_BYTES <= out->max)
            code = rz_fail(err, RZ_ENOMEM, where, "no memory for %zu bytes", out->len + READ_BYTES);
        else if (!at)
            code = rz_fail(err, RZ_ELIMIT, where, "longer than %zu bytes", out->max - READ_BYTES);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0)
            code = rz_fail(err, RZ_EIO, where, "cannot read: %s", strerror(errno));
        if (code || n <= 0)
            break;
        out->len += (size_t)n;
        out->data[out->len] = 0;
    }
    if (!standard)
        close(fd);
    return code;
}

int32_t rz_cli_text(const char *command, const struct rz_cli_value *p, const struct rz_cli_value *f,
                    struct rz_buf *out, struct rz_err *err)
{
    rz_buf_init(out, RZ_CLI_INPUT_MAX + READ_BYTES);
    if (p->given && f->given)
        return rz_fail(err, RZ_ECONFIG, command, "-p and -f: only one of them can give the text");
    if (!p->given)
        return rz_cli_read(f->text, out, err);
    if (!rz_buf_str(out, p->text))
        return rz_fail(err, RZ_ENOMEM, command, "no memory for the text");
    return RZ_OK;
}

int32_t rz_cli_open(const struct rz_cli *cli, const char *name, const struct rz_model_options *options,
                    struct rz_cli_model *out, struct rz_err *err)
{
    *out = (struct rz_cli_model){.info.size = sizeof(out->info), .vocab.size = sizeof(out->vocab)};
    out->api = cli->host->query(cli->host->ctx, RZ_HOST_MODEL_1, 0);
    if (!out->api)
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer it");
    int32_t code = out->api->open(out->api->ctx, name, options, &out->model, err);
    if (code)
        return code;
    code = out->api->info(out->model, &out->info);
    if (code)
        return rz_fail(err, code, name, "the model does not describe itself");
    if (options->level == RZ_MODEL_META)
        return RZ_OK;
    out->tokenizer = out->api->tokenizer(out->model, &out->tok);
    if (!out->tokenizer)
        return rz_fail(err, RZ_EUNSUPPORTED, out->info.path, "the model has no tokenizer");
    code = out->tokenizer->info(out->tok, &out->vocab);
    return code ? rz_fail(err, code, out->info.path, "the tokenizer does not describe itself") : RZ_OK;
}

void rz_cli_close(struct rz_cli_model *m)
{
    if (m->model)
        m->api->close(m->model);
    m->model = NULL;
}

int32_t rz_cli_encode(const struct rz_cli_model *m, const char *text, size_t n, uint32_t flags, int32_t **ids,
                      uint64_t *n_ids, struct rz_err *err)
{
    uint64_t cap = (uint64_t)n / 2 + 16, bytes;
    *ids = NULL;
    *n_ids = 0;
    for (int tries = 0; tries < 2; tries++) {
        free(*ids);
        *ids = rz_mul_u64(cap, sizeof(**ids), &bytes) ? malloc(bytes) : NULL;
        if (!*ids)
            return rz_fail(err, RZ_ENOMEM, "tokenizer", "no memory for %llu ids", (unsigned long long)cap);
        int32_t code = m->tokenizer->encode(m->tok, text ? text : "", n, flags, *ids, cap, n_ids, err);
        if (code)
            return code;
        if (*n_ids <= cap)
            return RZ_OK;
        cap = *n_ids;
    }
    return rz_fail(err, RZ_EINTERNAL, "tokenizer", "asks for more ids each time");
}

int32_t rz_cli_read_ids(const struct rz_cli_model *m, const char *path, int32_t **ids, uint64_t *n_ids,
                        struct rz_err *err)
{
    struct rz_buf b;
    rz_buf_init(&b, RZ_CLI_INPUT_MAX + READ_BYTES);
    *ids = NULL;
    int32_t code = rz_cli_read(path, &b, err);
    if (!code && (!b.len || b.len % sizeof(int32_t)))
        code = rz_fail(err, RZ_EFORMAT, path, "%zu bytes are not a list of 32-bit ids", b.len);
    for (uint64_t i = 0; !code && i < b.len / sizeof(int32_t); i++) {
        int32_t id;
        memcpy(&id, b.data + i * sizeof(id), sizeof(id));
        if (id < 0 || (m->info.n_vocab && (uint32_t)id >= m->info.n_vocab))
            code = rz_fail(err, RZ_EFORMAT, path, "id %d at index %llu: the vocabulary has %u", id,
                           (unsigned long long)i, m->info.n_vocab);
    }
    if (!code) {
        *n_ids = b.len / sizeof(int32_t);
        *ids = (int32_t *)(void *)rz_buf_take(&b);
    }
    rz_buf_free(&b);
    return code;
}
