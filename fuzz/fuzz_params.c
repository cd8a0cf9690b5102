/* The bytes of a params.json: a configuration comes out of it from which hyperparameters inside
 * their limits can be read, or an error with words. */
#include "fuzz/fuzz.h"

#include "arch/hparams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static an_arch_params p;
    anemo_error err = {0};
    json_t *params = NULL, *config = NULL;
    char note[300];
    uint8_t *copy = fuzz_copy(data, size);
    if (an_json_parse(&params, (const char *)copy, size, "fuzz", &err) == ANEMO_OK &&
        an_hparams_native_config(params, params, "fuzz", &config, note, sizeof note, &err) ==
            ANEMO_OK &&
        an_hparams_from_json(config, "fuzz", &p, &err) == ANEMO_OK) {
        if (p.hp.n_layer < 1 || p.hp.n_layer > AN_LAYERS_MAX || p.hp.n_head % p.hp.n_head_kv ||
            strlen(note) >= sizeof note)
            abort();
        for (int i = 0; i < p.hp.n_layer; i++)
            if (p.window[i] < 0) abort();
    } else if (!err.message[0]) {
        abort();
    }
    json_decref(params);
    json_decref(config);
    free(copy);
    return 0;
}
