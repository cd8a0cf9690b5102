/*
 * tokenizer.model: SentencePiece's protobuf (formats.md 7.2), read with a reader of our own. Fields we do not use
 * are skipped; a model that is not BPE, or that rewrites text before splitting it, is refused by name.
 */
#include "token/internal.h"

#include "base/bytes.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

typedef struct field {
    uint32_t number;
    int wire;
    uint64_t value;   /* of a varint */
    const void *data; /* of the others */
    uint64_t n;
    uint64_t offset; /* in the file */
} field;

typedef struct message {
    an_reader r;
    uint64_t base; /* offset of r.data in the file */
    const char *name;
} message;

static bool read_varint(an_reader *r, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        if (!an_read_u8(r, &byte)) return false;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* The next field; *more false at the end of the message. */
static anemo_status next_field(message *m, field *f, bool *more, anemo_error *err)
{
    uint64_t key;
    f->offset = m->base + m->r.pos;
    *more = an_reader_left(&m->r) > 0;
    if (!*more) return ANEMO_OK;
    if (!read_varint(&m->r, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX) goto broken;
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    switch (f->wire) {
    case WIRE_VARINT:
        if (!read_varint(&m->r, &f->value)) goto broken;
        return ANEMO_OK;
    case WIRE_FIXED64: f->n = 8; break;
    case WIRE_FIXED32: f->n = 4; break;
    case WIRE_BYTES:
        if (!read_varint(&m->r, &f->n)) goto broken;
        break;
    default: goto broken;
    }
    f->data = an_read_view(&m->r, f->n);
    if (f->data) return ANEMO_OK;
broken:
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a SentencePiece model: broken field at byte %llu", m->name,
                   (unsigned long long)f->offset);
}

static message sub_message(const message *m, const field *f)
{
    const unsigned char *data = f->data;
    return (message){.r = {.data = data, .size = f->n},
                     .base = m->base + (uint64_t)(data - m->r.data),
                     .name = m->name};
}

static anemo_status wrong_type(const message *m, const field *f, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: field %u at byte %llu has another type than in a SentencePiece model",
                   m->name, f->number, (unsigned long long)f->offset);
}

static anemo_status read_piece(an_tokenizer *t, message m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *text = "";
    uint64_t n = 0, type = AN_PIECE_NORMAL;
    float score = 0;
    bool more;
    field f = {0};
    for (;;) {
        AN_TRY(next_field(&m, &f, &more, err));
        if (!more) break;
        if (f.number > 3) continue;
        static const int wires[] = {0, WIRE_BYTES, WIRE_FIXED32, WIRE_VARINT};
        if (f.wire != wires[f.number]) return wrong_type(&m, &f, err);
        if (f.number == 1) {
            text = f.data;
            n = f.n;
        } else if (f.number == 2) {
            score = an_load_f32(f.data);
        } else {
            type = f.value;
        }
    }
    if (type < AN_PIECE_NORMAL || type > AN_PIECE_BYTE)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: piece %d at byte %llu has the unknown type %llu", m.name,
                       t->n_vocab, (unsigned long long)m.base, (unsigned long long)type);
    AN_TRY(an_vocab_add(t, text, (size_t)n, (an_piece_type)type, score, err));
cleanup:
    return status;
}

typedef struct trainer {
    uint64_t model_type; /* 1 unigram, 2 BPE */
    uint64_t unk, bos, eos;
    bool space_is_suffix;
} trainer;

static anemo_status read_trainer(trainer *out, message m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool more;
    field f = {0};
    for (;;) {
        AN_TRY(next_field(&m, &f, &more, err));
        if (!more) break;
        uint64_t ignored = 0;
        uint64_t *to = f.number == 3    ? &out->model_type
                       : f.number == 40 ? &out->unk
                       : f.number == 41 ? &out->bos
                       : f.number == 42 ? &out->eos
                                        : &ignored;
        bool known = to != &ignored || f.number == 24;
        if (known && f.wire != WIRE_VARINT) return wrong_type(&m, &f, err);
        if (known) *to = f.value;
        if (f.number == 24) out->space_is_suffix = f.value != 0;
    }
cleanup:
    return status;
}

typedef struct normalizer {
    uint64_t charsmap_bytes;
    bool add_prefix, trim_spaces, escape_spaces;
} normalizer;

static anemo_status read_normalizer(normalizer *out, message m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool more;
    field f = {0};
    for (;;) {
        AN_TRY(next_field(&m, &f, &more, err));
        if (!more) break;
        if (f.number < 2 || f.number > 5) continue;
        if (f.wire != (f.number == 2 ? WIRE_BYTES : WIRE_VARINT)) return wrong_type(&m, &f, err);
        if (f.number == 2) out->charsmap_bytes = f.n;
        if (f.number == 3) out->add_prefix = f.value != 0;
        if (f.number == 4) out->trim_spaces = f.value != 0;
        if (f.number == 5) out->escape_spaces = f.value != 0;
    }
cleanup:
    return status;
}

static anemo_status check_supported(const char *name, const trainer *tr, const normalizer *no,
                                    anemo_error *err)
{
    const char *what = NULL;
    if (tr->model_type != 2) what = "it is not a BPE model";
    else if (tr->space_is_suffix) what = "it puts white space behind words";
    else if (no->charsmap_bytes) what = "it rewrites characters (precompiled_charsmap)";
    else if (no->trim_spaces) what = "it removes extra white space";
    else if (!no->escape_spaces) what = "it does not escape white space";
    if (!what) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: %s; Mistral's SentencePiece models are BPE and change no text", name, what);
}

/* The id that the trainer names; when it names another type of piece, the usual spelling's id. */
static int32_t control_id(const an_tokenizer *t, uint64_t named, const char *spelling)
{
    int32_t id = named < (uint64_t)t->n_vocab ? (int32_t)named : -1;
    if (id >= 0 && an_tokenizer_is_control(t, id)) return id;
    id = an_tokenizer_find(t, spelling);
    return id >= 0 && an_tokenizer_is_control(t, id) ? id : -1;
}

/* v1, v2, v3, v7 of the file's name (".model.v3"), or of its control pieces, which the later ones all have. */
static const char *version_of(const an_tokenizer *t, const char *name)
{
    const char *tail = strrchr(name, '.');
    if (an_tokenizer_find(t, "[INST]") != 3)
        return tail && strcmp(tail, ".v1") == 0 && t->n_vocab == 32000 ? "v1" : "";
    if (an_tokenizer_find(t, "[SYSTEM_PROMPT]") >= 0) return "v7";
    return an_tokenizer_find(t, "[PREFIX]") >= 0 ? "v3" : "v2";
}

anemo_status an_load_spm(an_tokenizer **out, const void *data, size_t n, const char *name,
                         anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    trainer tr = {.model_type = 1, .unk = 0, .bos = 1, .eos = 2};
    normalizer no = {.add_prefix = true, .trim_spaces = true, .escape_spaces = true};
    message m = {.r = {.data = data, .size = n}, .name = name};
    bool more;
    field f = {0};
    an_tokenizer *t = an_vocab_new(name);
    if (!t) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (;;) {
        AN_TRY(next_field(&m, &f, &more, err));
        if (!more) break;
        if (f.number > 3) continue;
        if (f.wire != WIRE_BYTES) {
            status = wrong_type(&m, &f, err);
            goto cleanup;
        }
        if (f.number == 1) status = read_piece(t, sub_message(&m, &f), err);
        if (f.number == 2) status = read_trainer(&tr, sub_message(&m, &f), err);
        if (f.number == 3) status = read_normalizer(&no, sub_message(&m, &f), err);
        if (status != ANEMO_OK) goto cleanup;
    }
    if (t->n_vocab == 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a SentencePiece model: it has no pieces", name);
        goto cleanup;
    }
    AN_TRY(check_supported(name, &tr, &no, err));
    t->kind = AN_VOCAB_SPM;
    t->merge_by = AN_MERGE_BY_SCORE;
    t->prefix = no.add_prefix ? AN_PREFIX_TEXT : AN_PREFIX_NONE;
    t->special_rule = AN_SPECIAL_LEFTMOST;
    AN_TRY(an_vocab_index(t, err));
    t->unk = control_id(t, tr.unk, "<unk>");
    t->bos = control_id(t, tr.bos, "<s>");
    t->eos = control_id(t, tr.eos, "</s>");
    t->add_bos = true;
    an_vocab_mark_eog(t);
    an_chat_detect(t, version_of(t, name));
cleanup:
    if (status != ANEMO_OK) {
        an_tokenizer_close(t);
        return status;
    }
    t->source = NULL;
    *out = t;
    return ANEMO_OK;
}
