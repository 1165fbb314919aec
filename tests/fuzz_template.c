/* fuzz_template.c - a libFuzzer target: a template and its values, both from the input.
 *
 * The input is a template, a zero byte, and JSON. Built by hand, for it needs clang's fuzzer runtime:
 *   clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -Icore/api -Icore/base -Icore/engine \
 *     tests/fuzz_template.c core/engine/jinja*.c core/base/{arena,buf,err,utf8}.c -ljansson -lutf8proc -lm
 */
#include "err.h"
#include "jinja.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char usual[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9\"},{\"role\":\"x\",\"c\":[1,2.5,"
        "null,true]}],\"tools\":null,\"d\":{\"a\":{\"b\":[]}}}";
    const struct rz_template_limits limits = {
        .max_steps = 20000, .max_memory = 4 << 20, .max_output = 1 << 20};
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    size_t n_template = zero ? (size_t)(zero - data) : n;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_template *t;
    struct rz_arena arena;
    struct rz_jvalue context;
    struct rz_buf out, marks;
    rz_arena_init(&arena, 0);
    rz_buf_init(&out, 1 << 20);
    rz_buf_init(&marks, 16 << 20);
    bool ok = zero && !rz_jvalue_json(&arena, (const char *)zero + 1, n - n_template - 1, &context, &err);
    if (!ok || context.type != RZ_J_DICT)
        ok = !rz_jvalue_json(&arena, usual, strlen(usual), &context, &err);
    if (ok && !rz_template_parse((const char *)data, n_template, &t, &err)) {
        rz_template_render(t, &context, &limits, &out, &marks, &err);
        rz_template_free(t);
    }
    rz_buf_free(&out);
    rz_buf_free(&marks);
    rz_arena_free(&arena);
    return 0;
}
