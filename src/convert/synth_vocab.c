/*
 * A vocabulary that works, made and not taken from any model: SentencePiece's form with the special pieces of the shape's
 * version, the 256 bytes, single characters, and words of up to four letters in the order of how likely English letters
 * make them. A word's beginning is always likelier than the word, so that each piece is reached by merges.
 */
#include "convert/synth_internal.h"

#include "base/alloc.h"
#include "format/gguf.h"

#include <stdio.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, UNUSED = 5, BYTE = 6, PIECES_MIN = 512, WORD_MAX = 4, CAPITAL_COST = 6 };

#define SPACE "\xE2\x96\x81"

/* Twice the bits that each letter carries in English text. */
static const unsigned char letter_cost[26] = {7, 12, 10, 9, 6, 11, 11, 8, 7, 19, 14, 9, 11,
                                              8, 7, 11, 20, 8, 8, 7,  10, 13, 11, 19, 11, 21};

/* Control pieces in the order of their ids, after the first three, and how many there are with the fillers. */
static const struct {
    const char *first[3];
    const char *named[24];
    int n;
    int filler_base; /* the number of the filler with this id is the id less this */
    bool add_bos;
} specials[] = {
    [AN_SYNTH_VOCAB_PLAIN] = {{"<unk>", "<s>", "</s>"}, {NULL}, 0, 0, true},
    [AN_SYNTH_VOCAB_V3] = {{"<unk>", "<s>", "</s>"},
                           {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                            "[/TOOL_RESULTS]", "[IMG]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"},
                           768, 2, true},
    [AN_SYNTH_VOCAB_V7] = {{"<unk>", "<s>", "</s>"},
                           {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                            "[/TOOL_RESULTS]", "[IMG]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[IMG_BREAK]", "[IMG_END]",
                            "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"},
                           768, 2, true},
    [AN_SYNTH_VOCAB_TEKKEN] = {{"<unk>", "<s>", "</s>"},
                               {"[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                                "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]",
                                "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"},
                               997, 0, true},
    [AN_SYNTH_VOCAB_CHATML] = {{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, {NULL}, 14, 3, false},
};

/* Our own words for the formats of formats.md 7.5: users' texts between marks, answers ended by the end of sequence. */
#define TURNS(open, close)                                                                                                 \
    "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] + '\\n\\n' -%}"                       \
    "{%- set turns = messages[1:] -%}{%- else -%}{%- set system = '' -%}{%- set turns = messages -%}{%- endif -%}"         \
    "{{- bos_token -}}{%- for turn in turns -%}{%- if turn['role'] == 'user' -%}"                                          \
    "{{- '" open "' + (system if loop.last else '') + turn['content'] + '" close "' -}}"                                  \
    "{%- else -%}{{- ' ' + turn['content'] + eos_token -}}{%- endif -%}{%- endfor -%}"

static const char *const templates[] = {
    [AN_SYNTH_VOCAB_PLAIN] = TURNS(" [INST] ", " [/INST]"),
    [AN_SYNTH_VOCAB_V3] = TURNS("[INST] ", "[/INST]"),
    [AN_SYNTH_VOCAB_V7] =
        ("{{- bos_token -}}{%- for turn in messages -%}{%- if turn['role'] == 'system' -%}"
         "{{- '[SYSTEM_PROMPT] ' + turn['content'] + '[/SYSTEM_PROMPT]' -}}{%- elif turn['role'] == 'user' -%}"
         "{{- '[INST] ' + turn['content'] + '[/INST]' -}}{%- else -%}"
         "{{- ' ' + turn['content'] + eos_token -}}{%- endif -%}{%- endfor -%}"),
    [AN_SYNTH_VOCAB_TEKKEN] =
        ("{{- bos_token -}}{%- for turn in messages -%}{%- if turn['role'] == 'system' -%}"
         "{{- '[SYSTEM_PROMPT]' + turn['content'] + '[/SYSTEM_PROMPT]' -}}{%- elif turn['role'] == 'user' -%}"
         "{{- '[INST]' + turn['content'] + '[/INST]' -}}{%- else -%}"
         "{{- turn['content'] + eos_token -}}{%- endif -%}{%- endfor -%}"),
    [AN_SYNTH_VOCAB_CHATML] =
        ("{%- for turn in messages -%}{{- '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>' + '\\n' -}}"
         "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"),
};

typedef struct pieces {
    an_str texts, scores, types; /* as in the arrays of a GGUF file */
    int n, n_max, n_normal;
} pieces;

static void add(pieces *p, const char *text, size_t n, int type)
{
    float score = type == NORMAL ? -(float)++p->n_normal : type == UNUSED ? -10000.0f : 0.0f;
    if (p->n == p->n_max) return;
    an_synth_put_str(&p->texts, text, n);
    an_str_append_bytes(&p->scores, &score, 4);
    an_synth_put_u32(&p->types, (uint32_t)type);
    p->n++;
}

static void add_specials(pieces *p, an_synth_vocab kind)
{
    char text[32];
    for (int i = 0; i < 3; i++)
        add(p, specials[kind].first[i], strlen(specials[kind].first[i]),
            i == 0 && kind != AN_SYNTH_VOCAB_CHATML ? UNKNOWN : CONTROL);
    bool named = true;
    for (int i = 0; i < specials[kind].n; i++) {
        named = named && i < (int)AN_COUNT_OF(specials[kind].named) && specials[kind].named[i];
        int number = p->n - specials[kind].filler_base;
        if (named) snprintf(text, sizeof text, "%s", specials[kind].named[i]);
        else if (kind == AN_SYNTH_VOCAB_TEKKEN) snprintf(text, sizeof text, "<SPECIAL_%d>", number);
        else snprintf(text, sizeof text, kind == AN_SYNTH_VOCAB_CHATML ? "<reserved_%d>" : "[control_%d]", number);
        add(p, text, strlen(text), CONTROL);
    }
}

static void add_characters(pieces *p)
{
    char text[8];
    for (int i = 0; i < 256; i++) {
        snprintf(text, sizeof text, "<0x%02X>", i);
        add(p, text, 6, BYTE);
    }
    add(p, SPACE, 3, NORMAL);
    for (char c = '!'; c <= '~'; c++) add(p, &c, 1, NORMAL);
    for (int c = 0xC0; c <= 0xFF; c++) {
        text[0] = (char)(0xC0 | c >> 6);
        text[1] = (char)(0x80 | (c & 0x3F));
        add(p, text, 2, NORMAL);
    }
}

/* Words of n letters, one letter more than `stem` numbers in base 26, whose letters cost exactly `cost`. */
static void add_words(pieces *p, int n, int stem, int cost, bool space, bool capital)
{
    char text[3 + WORD_MAX];
    int at = 0, left = cost;
    if (space) {
        memcpy(text, SPACE, 3);
        at = 3;
    }
    for (int i = n - 2, digits = stem; i >= 0; i--, digits /= 26) {
        text[at + i] = (char)('a' + digits % 26);
        left -= letter_cost[digits % 26];
    }
    for (int last = 0; last < 26 && left > 0; last++) {
        if (letter_cost[last] != left) continue;
        text[at + n - 1] = (char)('a' + last);
        if (capital) text[at] = (char)(text[at] - 'a' + 'A');
        add(p, text, (size_t)(at + n), NORMAL);
        if (capital) text[at] = (char)(text[at] - 'A' + 'a');
    }
}

static void fill(pieces *p)
{
    char text[32];
    for (int cost = 0; cost <= WORD_MAX * 21 + CAPITAL_COST + 1 && p->n < p->n_max; cost++) {
        for (int form = 0; form < 4; form++) {
            bool space = form & 1, capital = form & 2;
            int letters = cost - (space ? 1 : 0) - (capital ? CAPITAL_COST : 0);
            for (int n = space ? 1 : 2, stems = space ? 1 : 26; n <= WORD_MAX; n++, stems *= 26)
                for (int stem = 0; stem < stems && p->n < p->n_max; stem++) add_words(p, n, stem, letters, space, capital);
        }
    }
    while (p->n < p->n_max) {
        snprintf(text, sizeof text, "[PAD%d]", p->n);
        add(p, text, strlen(text), UNUSED);
    }
}

static void put_array(an_str *keys, uint64_t *n_key, const char *key, uint32_t type, int n, const an_str *data)
{
    uint64_t count = (uint64_t)n;
    an_synth_key_begin(keys, n_key, key, AN_GGUF_ARRAY);
    an_synth_put_u32(keys, type);
    an_str_append_bytes(keys, &count, 8);
    an_str_append_bytes(keys, data->data, data->len);
    if (data->failed) keys->failed = true;
}

anemo_status an_synth_vocab_keys(const an_synth_model *m, an_str *keys, uint64_t *n_key, anemo_error *err)
{
    pieces p = {.n_max = m->params.hp.n_vocab};
    if (p.n_max < 3 + specials[m->vocab].n + PIECES_MIN)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: a vocabulary of %d entries is too small to be made; %d is the least",
                       m->name, p.n_max, 3 + specials[m->vocab].n + PIECES_MIN);
    add_specials(&p, m->vocab);
    add_characters(&p);
    fill(&p);
    an_synth_key_str(keys, n_key, "tokenizer.ggml.model", "llama");
    an_synth_key_str(keys, n_key, "tokenizer.ggml.pre", "default");
    put_array(keys, n_key, "tokenizer.ggml.tokens", AN_GGUF_STRING, p.n, &p.texts);
    put_array(keys, n_key, "tokenizer.ggml.scores", AN_GGUF_F32, p.n, &p.scores);
    put_array(keys, n_key, "tokenizer.ggml.token_type", AN_GGUF_I32, p.n, &p.types);
    an_synth_key_u32(keys, n_key, "tokenizer.ggml.bos_token_id", 1);
    an_synth_key_u32(keys, n_key, "tokenizer.ggml.eos_token_id", 2);
    an_synth_key_u32(keys, n_key, "tokenizer.ggml.unknown_token_id", 0);
    an_synth_key_bool(keys, n_key, "tokenizer.ggml.add_bos_token", specials[m->vocab].add_bos);
    an_synth_key_bool(keys, n_key, "tokenizer.ggml.add_eos_token", false);
    an_synth_key_bool(keys, n_key, "tokenizer.ggml.add_space_prefix", true);
    an_synth_key_str(keys, n_key, "tokenizer.chat_template", templates[m->vocab]);
    an_str_free(&p.texts);
    an_str_free(&p.scores);
    an_str_free(&p.types);
    return an_str_check(keys, err);
}
