/* Sizes go by the number of layers and quantizations by the file's own type, as in llama.cpp. */
#include "bench/model_name.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "format/gguf.h"

#include <stdio.h>
#include <string.h>

static const char *size_name(const an_model_file *m)
{
    static const struct {
        const char *arch; /* NULL: all others */
        int n_layer;
        const char *size;
    } sizes[] = {{"mistral3", 26, "3B"}, {"mistral3", 34, "8B"}, {"mistral3", 40, "14B"}, {NULL, 16, "1B"},
                 {NULL, 22, "1B"},       {NULL, 26, "3B"},       {NULL, 28, "3B"},        {NULL, 30, "256M"},
                 {NULL, 36, "8B"},       {NULL, 40, "13B"},      {NULL, 48, "34B"},       {NULL, 60, "30B"}};
    const an_hparams *hp = &m->hp;
    bool mistral3 = !strcmp(m->arch, "mistral3");
    for (size_t i = 0; i < AN_COUNT_OF(sizes); i++)
        if (hp->n_layer == sizes[i].n_layer && (sizes[i].arch != NULL) == mistral3) return sizes[i].size;
    if (mistral3) return "?B";
    if (hp->n_layer == 32) return hp->n_vocab == 49152 ? "3B" : hp->n_vocab < 40000 ? "7B" : "8B";
    if (hp->n_layer == 80) return hp->n_head == hp->n_head_kv ? "65B" : "70B";
    return "?B";
}

/* By GGUF's general.file_type. */
static const char *type_name(const an_model_file *m)
{
    static const char *const names[] = {
        [0] = "all F32",        [1] = "F16",           [2] = "Q4_0",          [3] = "Q4_1",
        [7] = "Q8_0",           [8] = "Q5_0",          [9] = "Q5_1",          [10] = "Q2_K - Medium",
        [11] = "Q3_K - Small",  [12] = "Q3_K - Medium", [13] = "Q3_K - Large", [14] = "Q4_K - Small",
        [15] = "Q4_K - Medium", [16] = "Q5_K - Small", [17] = "Q5_K - Medium", [18] = "Q6_K",
        [21] = "Q2_K - Small",  [25] = "IQ4_NL - 4.5 bpw", [30] = "IQ4_XS - 4.25 bpw", [32] = "BF16",
        [38] = "MXFP4 MoE"};
    int64_t type = -1;
    if (m->gguf && an_gguf_get_i64(m->gguf, "general.file_type", false, 0, INT32_MAX, &type, NULL) != ANEMO_OK) type = -1;
    if (type < 0 || type >= (int64_t)AN_COUNT_OF(names) || !names[type]) return m->quantization;
    return names[type];
}

void an_model_llama_name(const char *path, char name[AN_MODEL_NAME_BYTES], uint64_t *bytes, uint64_t *n_param)
{
    an_model_file *m;
    name[0] = '\0';
    *bytes = *n_param = 0;
    if (an_model_file_open(&m, path, NULL) != ANEMO_OK) return;
    const char *arch = !strcmp(m->arch, "mistral") ? "llama" : m->arch;
    snprintf(name, AN_MODEL_NAME_BYTES, "%s %s %s", arch, size_name(m), type_name(m));
    *bytes = m->weight_bytes;
    *n_param = m->n_param;
    an_model_file_close(m);
}
