/* http.c - fuzz target: the body of a completion request. */
#include "http.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int strict = 0; strict < 2; strict++) {
        struct rz_http_ask ask = {0};
        struct rz_err err = RZ_ERR_INIT;
        fuzz_status(rz_http_ask_read(&ask, (const char *)data, size, strict, &err), &err);
        for (uint32_t i = 0; !err.code && i < ask.n_stops; i++)
            fuzz_read(ask.stops[i].data, ask.stops[i].len);
        if (!err.code)
            fuzz_read(ask.biases, ask.n_biases * sizeof(*ask.biases));
        rz_http_ask_free(&ask);
    }
    return 0;
}
