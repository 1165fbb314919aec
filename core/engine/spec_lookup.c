/* spec_lookup.c - guesses from the text itself: what followed the last few tokens when they stood there
 * before.
 *
 * Nothing is kept between calls: one pass over the tokens from the end, which compares little else than
 * each with the last one.
 */
#include "spec.h"

/* How many tokens, at most RZ_LOOKUP_MAX, before `at` are those before n. */
static uint32_t alike(const int32_t *tokens, uint32_t n, uint32_t at)
{
    uint32_t most = at < RZ_LOOKUP_MAX ? at : RZ_LOOKUP_MAX, k = 1; /* the last one was looked at */
    while (k < most && tokens[at - 1 - k] == tokens[n - 1 - k])
        k++;
    return k;
}

uint32_t rz_lookup(int32_t *tokens, uint32_t n, uint32_t limit)
{
    uint32_t best = RZ_LOOKUP_MIN - 1, from = 0;
    for (uint32_t at = n ? n - 1 : 0; at >= RZ_LOOKUP_MIN && best < RZ_LOOKUP_MAX; at--) {
        if (tokens[at - 1] != tokens[n - 1])
            continue;
        uint32_t k = alike(tokens, n, at);
        if (k > best) {
            best = k;
            from = at;
        }
    }
    if (!from)
        return 0;
    /* Where the earlier place runs into the end, the text goes on as its own repetition. */
    for (uint32_t i = 0; i < limit; i++)
        tokens[n + i] = tokens[from + i];
    return best;
}
