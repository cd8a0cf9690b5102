/* The bytes of a config.json: either hyperparameters inside their limits come out of it, or an error with words. */
#include "fuzz/fuzz.h"

#include "arch/hparams.h"
#include "model/rope.h"

static volatile float sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static an_arch_params p;
    anemo_error err = {0};
    uint8_t *copy = fuzz_copy(data, size);
    if (an_hparams_from_config((const char *)copy, size, "fuzz", &p, &err) == ANEMO_OK) {
        static float freqs[AN_HEAD_DIM_MAX / 2];
        if (p.hp.n_layer < 1 || p.hp.n_layer > AN_LAYERS_MAX || p.hp.head_dim > AN_HEAD_DIM_MAX ||
            p.hp.n_head % p.hp.n_head_kv || p.hp.n_embd % 32 || p.hp.n_vocab < 1 ||
            p.n_eos > (int)AN_COUNT_OF(p.eos_ids))
            abort();
        an_rope_freqs(&p.hp, 1 << 20, freqs);
        for (int i = 0; i < p.hp.head_dim / 2; i++) sink += freqs[i];
        for (int i = 0; i < p.hp.n_layer; i++)
            if (p.window[i] < 0) abort();
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
