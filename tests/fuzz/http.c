/* http.c - fuzz target: the bodies of the requests for answers. */
#include "http.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned way = 0; way < 16; way++) {
        struct rz_http_ask ask = {0};
        struct rz_err err = RZ_ERR_INIT;
        fuzz_status(rz_http_ask_read(&ask, (const char *)data, size, 1u << (way & 7), way > 7, &err), &err);
        for (uint32_t i = 0; !err.code && i < ask.n_stops; i++)
            fuzz_read(ask.stops[i].data, ask.stops[i].len);
        if (!err.code)
            fuzz_read(ask.biases, ask.n_biases * sizeof(*ask.biases));
        rz_http_ask_free(&ask);
    }
    return 0;
}
