/* window.c - which layers attend to a window only: sliding_window with layer_types, or the family's rule.
 *
 * The host knows each family's usual pattern; another one is written out, a truth value a layer. A kind of
 * layer that is neither full nor sliding is an error that names it.
 */
#include "folder.h"

#include "err.h"

#include <stdio.h>
#include <string.h>

struct windows {
    struct rz_hf_model *m;
    uint32_t every; /* each of these layers is full; 0: none is */
    uint32_t from;  /* the first layer that may have a window   */
    uint8_t *on;    /* one a layer                              */
};

static bool by_rule(uint32_t every, uint32_t layer)
{
    return !every || (layer + 1) % every;
}

/* layer_types; false: there are none. */
static bool read_types(struct windows *w)
{
    const json_t *types = rz_hf_get(w->m, "layer_types");
    char shown[60];
    if (rz_hf_absent(types))
        return false;
    if (json_array_size(types) != w->m->c.n_layer) {
        rz_hf_fail(w->m, RZ_EFORMAT, "config.json: layer_types", "must be a list of %u kinds, one a layer",
                   w->m->c.n_layer);
        return true;
    }
    for (uint32_t i = 0; i < w->m->c.n_layer && !w->m->status; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        w->on[i] = type && !strcmp(type, "sliding_attention");
        if (!type || (!w->on[i] && strcmp(type, "full_attention") != 0))
            rz_hf_fail(w->m, RZ_EUNSUPPORTED, "config.json: layer_types",
                       "has \"%s\", another kind of layer than full_attention and sliding_attention",
                       rz_show(shown, sizeof(shown), type ? type : "?", type ? strlen(type) : 1));
    }
    return true;
}

/* sliding_window_pattern: how often a layer is full, or the same as letters ("LLLG"). */
static void read_every(struct windows *w)
{
    const json_t *value = rz_hf_get(w->m, "sliding_window_pattern");
    w->every = w->m->c.family->every;
    if (!w->every)
        return;
    if (rz_hf_absent(value))
        value = rz_hf_get(w->m, "_sliding_window_pattern");
    const char *letters = json_string_value(value);
    size_t local = letters ? strspn(letters, "L") : 0;
    if (letters && !strcmp(letters + local, "G") && local < 1000)
        w->every = (uint32_t)local + 1;
    else if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= 1000)
        w->every = (uint32_t)json_integer_value(value);
    else if (!rz_hf_absent(value))
        rz_hf_refuse(w->m, "sliding_window_pattern");
}

static bool is_on(struct windows *w)
{
    const json_t *types = rz_hf_get(w->m, "layer_types"), *type;
    size_t i;
    bool sliding = false;
    if (w->m->c.family->window == RZ_HF_WINDOW_KEY)
        return true;
    if (rz_hf_truth(w->m, "use_sliding_window", false))
        return true;
    json_array_foreach(types, i, type)
    {
        const char *text = json_string_value(type);
        sliding |= !text || strcmp(text, "full_attention") != 0;
    }
    return sliding;
}

static void put_pattern(struct windows *w)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.attention.sliding_window_pattern", w->m->c.family->arch);
    bool usual = true;
    for (uint32_t i = 0; i < w->m->c.n_layer; i++)
        usual &= w->on[i] == by_rule(w->m->c.family->every, i);
    if (!usual)
        rz_hf_put_array(w->m, key, RZ_META_BOOL, w->on, w->m->c.n_layer);
}

void rz_hf_read_windows(struct rz_hf_model *m)
{
    struct windows w = {.m = m, .on = rz_hf_array(m, m->c.n_layer, 1)};
    const json_t *window = rz_hf_get(m, "sliding_window");
    bool on = is_on(&w), any = false;
    if (m->status || !on || m->c.family->window == RZ_HF_WINDOW_OWN)
        return;
    if (m->c.family->window == RZ_HF_WINDOW_NONE) {
        rz_hf_refuse(m, rz_hf_truth(m, "use_sliding_window", false) ? "use_sliding_window" : "layer_types");
        return;
    }
    if (!rz_hf_absent(window) && (!json_is_integer(window) || json_integer_value(window) < 0 ||
                                  json_integer_value(window) > UINT32_MAX)) {
        rz_hf_fail(m, RZ_EFORMAT, "config.json: sliding_window", "must be an integer or null");
        return;
    }
    read_every(&w);
    if (m->c.family->window == RZ_HF_WINDOW_SWITCH)
        w.from = (uint32_t)rz_hf_number(m, m->config, "config.json", "max_window_layers", false, 0, 0, 1e9);
    bool told = read_types(&w);
    uint32_t size = json_is_integer(window) ? (uint32_t)json_integer_value(window) : 0;
    for (uint32_t i = 0; i < m->c.n_layer && !m->status; i++) {
        if (!told)
            w.on[i] = size && i >= w.from && by_rule(w.every, i);
        any |= w.on[i];
    }
    if (m->status || !any)
        return;
    if (!size) {
        rz_hf_fail(m, RZ_EFORMAT, "config.json: sliding_window", "is missing, and layer_types has windows");
        return;
    }
    if (!m->c.family->every && size >= m->c.n_ctx) /* nothing is ever outside of it */
        return;
    rz_hf_put_number(m, "attention.sliding_window", size);
    put_pattern(&w);
}
