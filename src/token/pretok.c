/*
 * Cutting text into the words that merging may not cross.
 *
 * Each pre-tokenizer is a list of passes; each pass cuts the pieces of the one before it, as llama.cpp applies its
 * list of regexes. The passes are hand-written scanners over an array of character classes: one look per
 * character and a bounded number of walks over each run, where a backtracking regex needs quadratic time or stack.
 */
#include "token/internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* Classes of a character, as bits. A character with none of LETTER, NUMBER and SPACE is a symbol. */
enum {
    LETTER = 1,
    NUMBER = 2,
    SPACE = 4, /* \s: White_Space */
    NEWLINE = 8, /* CR or LF */
    UPPER = 16, /* may stand in the upper-case part of a Tekken word: Lu Lt Lm Lo M */
    LOWER = 32, /* may stand in its lower-case part: Ll Lm Lo M */
    PUNCT = 64, /* \p{P} */
};

#define WORD_UPPER (LETTER | UPPER)
#define WORD_LOWER (LETTER | LOWER)
#define WORD_OTHER (LETTER | UPPER | LOWER)
#define WORD_MARK (UPPER | LOWER)

/*
 * Letters, marks, numbers and punctuation that Unicode 15.1 and 16 added. libutf8proc may know an older or a newer
 * Unicode than the library whose ids we must equal (llama.cpp's tables: 15.1; the regex crate of mistral-common
 * and Hugging Face: 16), so these ranges are decided here and everything older by libutf8proc.
 */
static const struct {
    uint32_t first, last;
    uint8_t cls;
    uint8_t since;
} added[] = {
    {0x00897, 0x00897, WORD_MARK, AN_UNICODE_16}, {0x01B4E, 0x01B4F, PUNCT, AN_UNICODE_16},
    {0x01B7F, 0x01B7F, PUNCT, AN_UNICODE_16}, {0x01C89, 0x01C89, WORD_UPPER, AN_UNICODE_16},
    {0x01C8A, 0x01C8A, WORD_LOWER, AN_UNICODE_16}, {0x0A7CB, 0x0A7CC, WORD_UPPER, AN_UNICODE_16},
    {0x0A7CD, 0x0A7CD, WORD_LOWER, AN_UNICODE_16}, {0x0A7DA, 0x0A7DA, WORD_UPPER, AN_UNICODE_16},
    {0x0A7DB, 0x0A7DB, WORD_LOWER, AN_UNICODE_16}, {0x0A7DC, 0x0A7DC, WORD_UPPER, AN_UNICODE_16},
    {0x105C0, 0x105F3, WORD_OTHER, AN_UNICODE_16}, {0x10D40, 0x10D49, NUMBER, AN_UNICODE_16},
    {0x10D4A, 0x10D4F, WORD_OTHER, AN_UNICODE_16}, {0x10D50, 0x10D65, WORD_UPPER, AN_UNICODE_16},
    {0x10D69, 0x10D6D, WORD_MARK, AN_UNICODE_16}, {0x10D6E, 0x10D6E, PUNCT, AN_UNICODE_16},
    {0x10D6F, 0x10D6F, WORD_OTHER, AN_UNICODE_16}, {0x10D70, 0x10D85, WORD_LOWER, AN_UNICODE_16},
    {0x10EC2, 0x10EC4, WORD_OTHER, AN_UNICODE_16}, {0x10EFC, 0x10EFC, WORD_MARK, AN_UNICODE_16},
    {0x11380, 0x11389, WORD_OTHER, AN_UNICODE_16}, {0x1138B, 0x1138B, WORD_OTHER, AN_UNICODE_16},
    {0x1138E, 0x1138E, WORD_OTHER, AN_UNICODE_16}, {0x11390, 0x113B5, WORD_OTHER, AN_UNICODE_16},
    {0x113B7, 0x113B7, WORD_OTHER, AN_UNICODE_16}, {0x113B8, 0x113C0, WORD_MARK, AN_UNICODE_16},
    {0x113C2, 0x113C2, WORD_MARK, AN_UNICODE_16}, {0x113C5, 0x113C5, WORD_MARK, AN_UNICODE_16},
    {0x113C7, 0x113CA, WORD_MARK, AN_UNICODE_16}, {0x113CC, 0x113D0, WORD_MARK, AN_UNICODE_16},
    {0x113D1, 0x113D1, WORD_OTHER, AN_UNICODE_16}, {0x113D2, 0x113D2, WORD_MARK, AN_UNICODE_16},
    {0x113D3, 0x113D3, WORD_OTHER, AN_UNICODE_16}, {0x113D4, 0x113D5, PUNCT, AN_UNICODE_16},
    {0x113D7, 0x113D8, PUNCT, AN_UNICODE_16}, {0x113E1, 0x113E2, WORD_MARK, AN_UNICODE_16},
    {0x116D0, 0x116E3, NUMBER, AN_UNICODE_16}, {0x11BC0, 0x11BE0, WORD_OTHER, AN_UNICODE_16},
    {0x11BE1, 0x11BE1, PUNCT, AN_UNICODE_16}, {0x11BF0, 0x11BF9, NUMBER, AN_UNICODE_16},
    {0x11F5A, 0x11F5A, WORD_MARK, AN_UNICODE_16}, {0x13460, 0x143FA, WORD_OTHER, AN_UNICODE_16},
    {0x16100, 0x1611D, WORD_OTHER, AN_UNICODE_16}, {0x1611E, 0x1612F, WORD_MARK, AN_UNICODE_16},
    {0x16130, 0x16139, NUMBER, AN_UNICODE_16}, {0x16D40, 0x16D6C, WORD_OTHER, AN_UNICODE_16},
    {0x16D6D, 0x16D6F, PUNCT, AN_UNICODE_16}, {0x16D70, 0x16D79, NUMBER, AN_UNICODE_16},
    {0x18CFF, 0x18CFF, WORD_OTHER, AN_UNICODE_16}, {0x1CCF0, 0x1CCF9, NUMBER, AN_UNICODE_16},
    {0x1E5D0, 0x1E5ED, WORD_OTHER, AN_UNICODE_16}, {0x1E5EE, 0x1E5EF, WORD_MARK, AN_UNICODE_16},
    {0x1E5F0, 0x1E5F0, WORD_OTHER, AN_UNICODE_16}, {0x1E5F1, 0x1E5FA, NUMBER, AN_UNICODE_16},
    {0x1E5FF, 0x1E5FF, PUNCT, AN_UNICODE_16}, {0x2EBF0, 0x2EE5D, WORD_OTHER, AN_UNICODE_15_1},
};

static int added_class(uint32_t cp, an_unicode_level level)
{
    size_t low = 0, high = AN_COUNT_OF(added);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (cp < added[mid].first)
            high = mid;
        else if (cp > added[mid].last)
            low = mid + 1;
        else
            return added[mid].since <= (uint8_t)level ? added[mid].cls : 0;
    }
    return -1;
}

bool an_is_white_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

static uint8_t category_class(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return WORD_UPPER;
    case UTF8PROC_CATEGORY_LL: return WORD_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return WORD_OTHER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return WORD_MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return PUNCT;
    default: return 0;
    }
}

bool an_is_word(uint32_t cp)
{
    int cls = added_class(cp, AN_UNICODE_16);
    if (cls >= 0) return cls & (LETTER | UPPER | LOWER | NUMBER);
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC;
}

static uint8_t classify(const an_pretok *p, uint32_t cp)
{
    if (an_is_white_space(cp)) return cp == '\n' || cp == '\r' ? SPACE | NEWLINE : SPACE;
    int cls = cp >= 0x800 ? added_class(cp, p->unicode) : -1;
    if (cls < 0) cls = category_class(cp);
    if (p->ascii_case && cp >= 128) {
        if (cls & LETTER)
            cls = WORD_OTHER;
        else
            cls &= ~(UPPER | LOWER);
    }
    return (uint8_t)cls;
}

/* Code points i of a text of n: their classes, and their first bytes. */
typedef struct view {
    const char *text;
    const uint32_t *off;
    const uint8_t *cls;
} view;

static char byte_at(const view *v, size_t i)
{
    return v->text[v->off[i]];
}

static size_t run(const view *v, size_t i, size_t end, uint8_t mask)
{
    while (i < end && (v->cls[i] & mask)) i++;
    return i;
}

static size_t run_symbols(const view *v, size_t i, size_t end)
{
    while (i < end && !(v->cls[i] & (LETTER | NUMBER | SPACE))) i++;
    return i;
}

/* \s+(?!\S)|\s+ : a run of spaces leaves its last one to a word that follows. */
static size_t scan_spaces(const view *v, size_t i, size_t end)
{
    size_t stop = run(v, i, end, SPACE);
    return stop < end && stop - i > 1 ? stop - 1 : stop;
}

/* \s*[\r\n]+ and the two above. */
static size_t scan_spaces_newlines(const view *v, size_t i, size_t end)
{
    size_t stop = run(v, i, end, SPACE);
    for (size_t k = stop; k > i; k--)
        if (v->cls[k - 1] & NEWLINE) return k;
    return stop < end && stop - i > 1 ? stop - 1 : stop;
}

static char lower_ascii(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* 's 't 're 've 'm 'll 'd at i, which is an apostrophe; i when there is none. */
static size_t scan_contraction(const view *v, size_t i, size_t end, bool any_case)
{
    if (i + 1 >= end) return i;
    char a = byte_at(v, i + 1), b = i + 2 < end ? byte_at(v, i + 2) : 0;
    if (any_case) {
        a = lower_ascii(a);
        b = lower_ascii(b);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
    return i;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t scan_gpt2(const view *v, size_t i, size_t end)
{
    if (byte_at(v, i) == '\'') {
        size_t stop = scan_contraction(v, i, end, false);
        if (stop > i) return stop;
    }
    size_t k = byte_at(v, i) == ' ' && i + 1 < end ? i + 1 : i;
    if (v->cls[k] & LETTER) return run(v, k, end, LETTER);
    if (v->cls[k] & NUMBER) return run(v, k, end, NUMBER);
    if (!(v->cls[k] & SPACE)) return run_symbols(v, k, end);
    return scan_spaces(v, i, end);
}

/*
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+
 */
static size_t scan_llama3(const view *v, size_t i, size_t end, size_t max_digits)
{
    if (byte_at(v, i) == '\'') {
        size_t stop = scan_contraction(v, i, end, true);
        if (stop > i) return stop;
    }
    uint8_t cls = v->cls[i];
    if (cls & LETTER) return run(v, i, end, LETTER);
    if (!(cls & (NUMBER | NEWLINE)) && i + 1 < end && (v->cls[i + 1] & LETTER))
        return run(v, i + 1, end, LETTER);
    if (cls & NUMBER) return run(v, i, end - i > max_digits ? i + max_digits : end, NUMBER);
    size_t k = byte_at(v, i) == ' ' && i + 1 < end ? i + 1 : i;
    if (!(v->cls[k] & (LETTER | NUMBER | SPACE))) return run(v, run_symbols(v, k, end), end, NEWLINE);
    return scan_spaces_newlines(v, i, end);
}

/*
 * [UPPER]*[LOWER]+ at i, or i when it does not match. The classes overlap: when nothing lower follows the run of
 * upper, a backtracking matcher gives back characters until one of the run is lower too.
 */
static size_t scan_cased(const view *v, size_t i, size_t end)
{
    size_t upper = run(v, i, end, UPPER);
    size_t lower = run(v, upper, end, LOWER);
    if (lower > upper) return lower;
    for (size_t k = upper; k > i; k--)
        if (v->cls[k - 1] & LOWER) return k;
    return i;
}

/*
 * [^\r\n\p{L}\p{N}]?[U]*[W]+|[^\r\n\p{L}\p{N}]?[U]+[W]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ with U = Lu Lt Lm Lo M and W = Ll Lm Lo M
 */
static size_t scan_tekken(const view *v, size_t i, size_t end)
{
    uint8_t cls = v->cls[i];
    size_t stop;
    bool may_lead = !(cls & (LETTER | NUMBER | NEWLINE)) && i + 1 < end;
    if (may_lead) {
        stop = scan_cased(v, i + 1, end);
        if (stop > i + 1) return stop;
    }
    stop = scan_cased(v, i, end);
    if (stop > i) return stop;
    /* Nothing lower is left in the run, so the second alternative takes all of it. */
    if (may_lead && (v->cls[i + 1] & UPPER)) return run(v, i + 1, end, UPPER);
    if (cls & UPPER) return run(v, i, end, UPPER);
    if (cls & NUMBER) return i + 1;
    size_t k = byte_at(v, i) == ' ' && i + 1 < end ? i + 1 : i;
    if (!(v->cls[k] & (LETTER | NUMBER | SPACE))) {
        k = run_symbols(v, k, end);
        while (k < end && ((v->cls[k] & NEWLINE) || byte_at(v, k) == '/')) k++;
        return k;
    }
    return scan_spaces_newlines(v, i, end);
}

/* [\p{P}\$\+<=>\^~\|]+ */
static bool is_punct(const view *v, size_t i, bool tick)
{
    char c = byte_at(v, i);
    return (v->cls[i] & PUNCT) || (c && strchr("$+<=>^~|", c)) || (tick && c == '`');
}

static size_t scan_runs(const view *v, size_t i, size_t end, an_pretok_pass pass)
{
    bool tick = pass == AN_PASS_PUNCT_TICK;
    if (pass == AN_PASS_NUMBER && (v->cls[i] & NUMBER)) return i + 1;
    if (pass == AN_PASS_PUNCT || tick) {
        bool in = is_punct(v, i, tick);
        while (i < end && is_punct(v, i, tick) == in) i++;
        return i;
    }
    bool in = v->cls[i] & NUMBER;
    while (i < end && !!(v->cls[i] & NUMBER) == in) i++;
    return i;
}

static bool is_digit(const view *v, size_t i)
{
    return byte_at(v, i) >= '0' && byte_at(v, i) <= '9';
}

/* Three ASCII digits, or everything before the next three. */
static size_t scan_digits3(const view *v, size_t i, size_t end)
{
    size_t digits = 0;
    for (size_t k = i; k < end; k++) {
        digits = is_digit(v, k) ? digits + 1 : 0;
        if (digits == 3) return k + 1 - i == 3 ? k + 1 : k - 2;
    }
    return end;
}

static size_t scan(an_pretok_pass pass, const view *v, size_t i, size_t end)
{
    switch (pass) {
    case AN_PASS_GPT2: return scan_gpt2(v, i, end);
    case AN_PASS_LLAMA3: return scan_llama3(v, i, end, 3);
    case AN_PASS_QWEN2: return scan_llama3(v, i, end, 1);
    case AN_PASS_TEKKEN: return scan_tekken(v, i, end);
    case AN_PASS_DIGITS3: return scan_digits3(v, i, end);
    default: return scan_runs(v, i, end, pass);
    }
}

void an_pretok_work_free(an_pretok_work *w)
{
    an_free(w->cls);
    an_free(w->off);
    an_free(w->end[0]);
    an_free(w->end[1]);
    *w = (an_pretok_work){0};
}

static bool reserve(an_pretok_work *w, size_t n)
{
    if (w->cap && n <= w->cap) return true;
    size_t cap = n < 256 ? 256 : n;
    an_pretok_work_free(w);
    w->cls = an_malloc(cap);
    w->off = an_malloc((cap + 1) * sizeof *w->off);
    for (int i = 0; i < 2; i++) w->end[i] = an_malloc(cap * sizeof *w->end[i]);
    w->cap = w->cls && w->off && w->end[0] && w->end[1] ? cap : 0;
    return w->cap != 0;
}

anemo_status an_pretok_split(const an_pretok *p, an_pretok_work *w, const char *text, size_t n,
                             const uint32_t **ends, size_t *n_end, anemo_error *err)
{
    if (!reserve(w, n)) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    size_t n_cp = 0;
    for (size_t i = 0; i < n; n_cp++) {
        uint32_t cp;
        int len = an_utf8_decode(text + i, n - i, &cp);
        w->off[n_cp] = (uint32_t)i;
        w->cls[n_cp] = len ? classify(p, cp) : 0;
        i += len ? (size_t)len : 1;
    }
    w->off[n_cp] = (uint32_t)n;
    view v = {.text = text, .off = w->off, .cls = w->cls};
    uint32_t *from = w->end[0], *to = w->end[1];
    size_t n_piece = n_cp ? 1 : 0;
    from[0] = (uint32_t)n_cp;
    for (const an_pretok_pass *pass = p->pass; *pass != AN_PASS_END; pass++) {
        size_t n_out = 0, i = 0;
        for (size_t piece = 0; piece < n_piece; piece++)
            while (i < from[piece]) {
                i = scan(*pass, &v, i, from[piece]);
                to[n_out++] = (uint32_t)i;
            }
        uint32_t *swap = from;
        from = to;
        to = swap;
        n_piece = n_out;
    }
    for (size_t i = 0; i < n_piece; i++) from[i] = w->off[from[i]];
    *ends = from;
    *n_end = n_piece;
    return ANEMO_OK;
}

/* ----------------------------------------------------------------------------------------------------- names */

enum { IGNORE_MERGES = 1, ADD_BOS = 2, ASCII_CASE = 4 };

static const struct {
    const char *name;
    int flags;
    an_pretok_pass pass[5];
} names[] = {
    {"default", 0, {AN_PASS_PUNCT, AN_PASS_GPT2, AN_PASS_NUMBER_RUN, AN_PASS_DIGITS3}},
    {"smollm", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"starcoder", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"refact", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"command-r", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"codeshell", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"exaone", 0, {AN_PASS_NUMBER, AN_PASS_GPT2}},
    {"gpt-2", 0, {AN_PASS_GPT2}},
    {"phi-2", 0, {AN_PASS_GPT2}},
    {"mpt", 0, {AN_PASS_GPT2}},
    {"olmo", 0, {AN_PASS_GPT2}},
    {"jais", 0, {AN_PASS_GPT2}},
    {"trillion", 0, {AN_PASS_GPT2}},
    {"falcon", 0, {AN_PASS_PUNCT_TICK, AN_PASS_GPT2, AN_PASS_DIGITS3}},
    {"llama-bpe", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"llama3", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"llama-v3", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"falcon3", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"falcon-h1", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"pixtral", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"lfm2", IGNORE_MERGES | ADD_BOS, {AN_PASS_LLAMA3}},
    {"dbrx", 0, {AN_PASS_LLAMA3}},
    {"smaug-bpe", 0, {AN_PASS_LLAMA3}},
    {"qwen2", 0, {AN_PASS_QWEN2}},
    {"deepseek-r1-qwen", 0, {AN_PASS_QWEN2}},
    {"megrez", 0, {AN_PASS_QWEN2}},
    {"stablelm2", 0, {AN_PASS_QWEN2}},
    {"tekken", IGNORE_MERGES | ADD_BOS | ASCII_CASE, {AN_PASS_TEKKEN}},
};

bool an_pretok_by_name(const char *name, an_pretok *out, bool *ignore_merges, bool *add_bos)
{
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (strcmp(names[i].name, name) != 0) continue;
        *out = (an_pretok){.unicode = AN_UNICODE_15_1, .ascii_case = names[i].flags & ASCII_CASE};
        memcpy(out->pass, names[i].pass, sizeof out->pass);
        *ignore_merges = names[i].flags & IGNORE_MERGES;
        *add_bos = names[i].flags & ADD_BOS;
        return true;
    }
    return false;
}

const char *an_pretok_name_of(const an_pretok *p, bool ignore_merges)
{
    for (size_t i = 0; i < AN_COUNT_OF(names); i++)
        if (!memcmp(names[i].pass, p->pass, sizeof p->pass) && !(names[i].flags & IGNORE_MERGES) == !ignore_merges)
            return names[i].name;
    return NULL;
}

static const struct {
    an_pretok_pass pass;
    const char *regex;
} regexes[] = {
    {AN_PASS_GPT2, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {AN_PASS_GPT2, "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {AN_PASS_LLAMA3, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {AN_PASS_QWEN2, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {AN_PASS_TEKKEN,
     "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
     "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}|"
     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {AN_PASS_NUMBER, "\\p{N}"},
    {AN_PASS_NUMBER_RUN, "\\p{N}+"},
    /* The two that our own conversion writes for llama.cpp's default. */
    {AN_PASS_PUNCT, "[\\p{P}\\$\\+<=>\\^~\\|]+"},
    {AN_PASS_DIGITS3, "[0-9][0-9][0-9]"},
};

bool an_pretok_by_regex(const char *regex, an_pretok_pass *out)
{
    for (size_t i = 0; i < AN_COUNT_OF(regexes); i++) {
        if (strcmp(regexes[i].regex, regex) != 0) continue;
        *out = regexes[i].pass;
        return true;
    }
    return false;
}
