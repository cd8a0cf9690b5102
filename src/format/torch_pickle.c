/*
 * The data-only pickle machine (formats.md 5.2). Values are numbers, strings, plain containers, names of known globals,
 * storages and tensors; a "call" is one of a few constructions that are carried out here. Every value on the stack was
 * pushed by an opcode of the input, so that memory is bounded by the pickle's length; nothing recurses.
 */
#include "format/torch_machine.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const torch_global GLOBALS[] = {
    {"collections.OrderedDict", A_DICT, 0},
    {"torch._utils._rebuild_tensor", A_TENSOR, 0},
    {"torch._utils._rebuild_tensor_v2", A_TENSOR, 0},
    {"torch._utils._rebuild_tensor_v3", A_TENSOR_V3, 0},
    {"torch._utils._rebuild_parameter", A_PARAMETER, 0},
    {"torch._utils._rebuild_parameter_with_state", A_PARAMETER, 0},
    {"torch.nn.parameter.Parameter", A_PARAMETER, 0},
    {"torch._tensor._rebuild_from_type_v2", A_FROM_TYPE, 0},
    {"torch.tensor._rebuild_from_type_v2", A_FROM_TYPE, 0},
    {"torch.Tensor", A_INERT, 0},
    {"torch.Size", A_INERT, 0},
    {"torch.device", A_INERT, 0},
    {"torch.serialization._get_layout", A_INERT, 0},
    {"_codecs.encode", A_INERT, 0},
    {"torch.FloatStorage", A_STORAGE, AN_DTYPE_F32},
    {"torch.HalfStorage", A_STORAGE, AN_DTYPE_F16},
    {"torch.BFloat16Storage", A_STORAGE, AN_DTYPE_BF16},
    {"torch.DoubleStorage", A_STORAGE, AN_DTYPE_F64},
    {"torch.ByteStorage", A_STORAGE, AN_DTYPE_U8},
    {"torch.CharStorage", A_STORAGE, AN_DTYPE_I8},
    {"torch.ShortStorage", A_STORAGE, AN_DTYPE_I16},
    {"torch.IntStorage", A_STORAGE, AN_DTYPE_I32},
    {"torch.LongStorage", A_STORAGE, AN_DTYPE_I64},
    {"torch.BoolStorage", A_STORAGE, AN_DTYPE_BOOL},
    {"torch.storage.UntypedStorage", A_UNTYPED, AN_DTYPE_U8},
    {"torch.storage._UntypedStorage", A_UNTYPED, AN_DTYPE_U8},
    {"torch.float32", A_DTYPE, AN_DTYPE_F32},
    {"torch.float16", A_DTYPE, AN_DTYPE_F16},
    {"torch.bfloat16", A_DTYPE, AN_DTYPE_BF16},
    {"torch.float64", A_DTYPE, AN_DTYPE_F64},
    {"torch.uint8", A_DTYPE, AN_DTYPE_U8},
    {"torch.int8", A_DTYPE, AN_DTYPE_I8},
    {"torch.uint16", A_DTYPE, AN_DTYPE_U16},
    {"torch.int16", A_DTYPE, AN_DTYPE_I16},
    {"torch.uint32", A_DTYPE, AN_DTYPE_U32},
    {"torch.int32", A_DTYPE, AN_DTYPE_I32},
    {"torch.uint64", A_DTYPE, AN_DTYPE_U64},
    {"torch.int64", A_DTYPE, AN_DTYPE_I64},
    {"torch.bool", A_DTYPE, AN_DTYPE_BOOL},
    {"torch.float8_e4m3fn", A_DTYPE, AN_DTYPE_F8_E4M3},
    {"torch.float8_e5m2", A_DTYPE, AN_DTYPE_F8_E5M2},
};

/* Names of the opcodes that may be refused, for the message. */
static const char *opcode_name(uint8_t op)
{
    static const struct {
        uint8_t op;
        const char *name;
    } NAMES[] = {
        {'i', "INST"},          {'o', "OBJ"},           {'p', "PUT"},
        {'g', "GET"},           {'P', "PERSID"},        {'2', "DUP"},
        {'I', "INT"},           {'L', "LONG"},          {'F', "FLOAT"},
        {'S', "STRING"},        {'V', "UNICODE"},       {0x82, "EXT1"},
        {0x83, "EXT2"},         {0x84, "EXT4"},         {0x8B, "LONG4"},
        {0x8E, "BINBYTES8"},    {0x90, "ADDITEMS"},     {0x91, "FROZENSET"},
        {0x92, "NEWOBJ_EX"},    {0x96, "BYTEARRAY8"},   {0x97, "NEXT_BUFFER"},
        {'R', "REDUCE"},        {0x81, "NEWOBJ"},       {'b', "BUILD"},
        {'c', "GLOBAL"},        {0x93, "STACK_GLOBAL"}, {'Q', "BINPERSID"},
        {0x98, "READONLY_BUFFER"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(NAMES); i++)
        if (NAMES[i].op == op) return NAMES[i].name;
    return "of a code";
}

anemo_status an_torch_fail_at(torch_machine *m, anemo_status status, const char *fmt, ...)
{
    char what[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return an_fail(m->err, status, "%s: %s: opcode %s 0x%02x at byte %" PRIu64 ": %s", m->path, m->where,
                   opcode_name(m->op), m->op, m->op_pos, what);
}

anemo_status an_torch_no_memory(torch_machine *m)
{
    return an_fail(m->err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
}

static anemo_status cut_off(torch_machine *m)
{
    return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the pickle is cut off here");
}

bool an_torch_grow(torch_value **items, size_t *cap, size_t need)
{
    if (need <= *cap) return true;
    size_t n = *cap * 2 > need ? *cap * 2 : need + 16;
    torch_value *grown = an_realloc(*items, n * sizeof *grown);
    if (!grown) return false;
    *items = grown;
    *cap = n;
    return true;
}

anemo_status an_torch_push(torch_machine *m, torch_value v)
{
    if (!an_torch_grow(&m->stack, &m->cap_stack, m->n_stack + 1)) return an_torch_no_memory(m);
    m->stack[m->n_stack++] = v;
    return ANEMO_OK;
}

static anemo_status push_kind(torch_machine *m, torch_kind k, int64_t i)
{
    return an_torch_push(m, (torch_value){.kind = k, .u.i = i});
}

/* The top value that is not a mark. */
static anemo_status pop(torch_machine *m, torch_value *out)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == K_MARK)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    *out = m->stack[--m->n_stack];
    return ANEMO_OK;
}

torch_node *an_torch_new_node(torch_machine *m)
{
    torch_node *x = an_calloc(1, sizeof *x);
    if (!x) return NULL;
    x->next = m->nodes;
    m->nodes = x;
    return x;
}

/* Take the top n values into a new container and push it. */
static anemo_status push_container(torch_machine *m, torch_kind k, size_t n)
{
    torch_node *x = an_torch_new_node(m);
    if (!x) return an_torch_no_memory(m);
    if (n > 0) {
        if (!an_torch_grow(&x->items, &x->cap, n)) return an_torch_no_memory(m);
        memcpy(x->items, m->stack + m->n_stack - n, n * sizeof *x->items);
        x->n = n;
        m->n_stack -= n;
    }
    return an_torch_push(m, (torch_value){.kind = k, .u.node = x});
}

/* How many values stand above the last mark. */
static anemo_status above_mark(torch_machine *m, size_t *n)
{
    size_t i = m->n_stack;
    while (i > 0 && m->stack[i - 1].kind != K_MARK) i--;
    if (i == 0) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "no mark on the stack");
    *n = m->n_stack - i;
    return ANEMO_OK;
}

/* Move the values above the mark into a container, in the mark's place. */
static anemo_status collect(torch_machine *m, torch_kind k)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    if (status != ANEMO_OK) return status;
    if (k == K_DICT && n % 2) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a key without a value");
    status = push_container(m, k, n);
    if (status != ANEMO_OK) return status;
    m->stack[m->n_stack - 2] = m->stack[m->n_stack - 1];
    m->n_stack--;
    return ANEMO_OK;
}

/* Append the top n values to the list or dictionary below them (and below a mark). */
static anemo_status append(torch_machine *m, torch_kind k, size_t n, size_t marks)
{
    size_t below = n + marks;
    if (k == K_DICT && n % 2) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a key without a value");
    if (m->n_stack <= below || m->stack[m->n_stack - below - 1].kind != k)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "no %s on the stack", k == K_DICT ? "dictionary" : "list");
    for (size_t i = m->n_stack - n; i < m->n_stack; i++)
        if (m->stack[i].kind == K_MARK) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a mark in the way");
    torch_node *x = m->stack[m->n_stack - below - 1].u.node;
    if (n > 0) {
        if (!an_torch_grow(&x->items, &x->cap, x->n + n)) return an_torch_no_memory(m);
        memcpy(x->items + x->n, m->stack + m->n_stack - n, n * sizeof *x->items);
        x->n += n;
    }
    m->n_stack -= below;
    return ANEMO_OK;
}

static anemo_status append_above_mark(torch_machine *m, torch_kind k)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    return status == ANEMO_OK ? append(m, k, n, 1) : status;
}

/* ---------------------------------------------------------------------------------------------------------- memo */

static anemo_status memo_put(torch_machine *m, uint64_t i)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == K_MARK)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "nothing to remember");
    if (i > m->op_pos)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "memo index %" PRIu64 " is out of range", i);
    if (!an_torch_grow(&m->memo, &m->cap_memo, (size_t)i + 1)) return an_torch_no_memory(m);
    while (m->n_memo <= i) m->memo[m->n_memo++] = (torch_value){.kind = K_MARK};
    m->memo[i] = m->stack[m->n_stack - 1];
    return ANEMO_OK;
}

static anemo_status memo_get(torch_machine *m, uint64_t i)
{
    if (i >= m->n_memo || m->memo[i].kind == K_MARK)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "nothing is remembered as %" PRIu64, i);
    return an_torch_push(m, m->memo[i]);
}

/* ------------------------------------------------------------------------------------------- globals */

static anemo_status push_global(torch_machine *m, const char *module, uint64_t n_module, const char *name,
                                uint64_t n_name)
{
    for (size_t i = 0; i < AN_COUNT_OF(GLOBALS); i++) {
        const char *g = GLOBALS[i].name;
        if (strlen(g) == n_module + 1 + n_name && memcmp(g, module, n_module) == 0 &&
            g[n_module] == '.' && memcmp(g + n_module + 1, name, n_name) == 0)
            return an_torch_push(m, (torch_value){.kind = K_GLOBAL, .u.global = &GLOBALS[i]});
    }
    char shown[162];
    snprintf(shown, sizeof shown, "%.*s.%.*s", n_module < 80 ? (int)n_module : 80, module,
             n_name < 80 ? (int)n_name : 80, name);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E) *c = '?';
    return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED,
                "refers to %s, which is neither a tensor nor a plain container; nothing was run. "
                "Use the model's safetensors files, or save its state_dict alone",
                shown);
}

static anemo_status read_line(torch_machine *m, const char **text, uint64_t *n)
{
    const unsigned char *begin = m->r.data + m->r.pos;
    const unsigned char *end = memchr(begin, '\n', (size_t)an_reader_left(&m->r));
    if (!end) return cut_off(m);
    *text = (const char *)begin;
    *n = (uint64_t)(end - begin);
    m->r.pos += *n + 1;
    return ANEMO_OK;
}

static anemo_status op_global(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    const char *module = NULL, *name = NULL;
    uint64_t n_module = 0, n_name = 0;
    AN_TRY(read_line(m, &module, &n_module));
    AN_TRY(read_line(m, &name, &n_name));
    AN_TRY(push_global(m, module, n_module, name, n_name));
cleanup:
    return status;
}

static anemo_status op_stack_global(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    torch_value module = {0}, name = {0};
    AN_TRY(pop(m, &name));
    AN_TRY(pop(m, &module));
    if (module.kind != K_TEXT || name.kind != K_TEXT)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a global needs two strings");
    AN_TRY(push_global(m, module.u.text.text, module.u.text.len, name.u.text.text, name.u.text.len));
cleanup:
    return status;
}

static anemo_status op_reduce(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    torch_value args = {0}, callee = {0};
    AN_TRY(pop(m, &args));
    AN_TRY(pop(m, &callee));
    if (callee.kind != K_GLOBAL || args.kind != K_TUPLE)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a call needs a global and a tuple");
    AN_TRY(an_torch_construct(m, callee.u.global, args.u.node));
cleanup:
    return status;
}

static anemo_status op_persid(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    torch_value v = {0};
    AN_TRY(pop(m, &v));
    AN_TRY(an_torch_refer(m, &v));
cleanup:
    return status;
}

static anemo_status op_build(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    torch_value state = {0};
    AN_TRY(pop(m, &state));
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind != K_DICT)
        return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED, "only a dictionary may have a state");
cleanup:
    return status;
}

/* --------------------------------------------------------------------------------------------------------- opcodes */

/* An unsigned little-endian number of n bytes that follows the opcode. */
static anemo_status operand(torch_machine *m, int n, uint64_t *out)
{
    const unsigned char *p = an_read_view(&m->r, (uint64_t)n);
    if (!p) return cut_off(m);
    *out = 0;
    for (int i = n - 1; i >= 0; i--) *out = *out << 8 | p[i];
    return ANEMO_OK;
}

static anemo_status push_text(torch_machine *m, int n_len)
{
    uint64_t len = 0;
    anemo_status status = operand(m, n_len, &len);
    if (status != ANEMO_OK) return status;
    const char *text = an_read_view(&m->r, len);
    if (!text) return cut_off(m);
    return an_torch_push(m, (torch_value){.kind = K_TEXT, .u.text = {text, len}});
}

/* A little-endian two's complement number of up to eight bytes. */
static anemo_status push_long(torch_machine *m)
{
    uint64_t len = 0, bits = 0;
    anemo_status status = operand(m, 1, &len);
    if (status != ANEMO_OK) return status;
    if (len > 8) return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED, "an integer of %" PRIu64 " bytes", len);
    status = operand(m, (int)len, &bits);
    if (status != ANEMO_OK) return status;
    if (len > 0 && len < 8 && bits >> (8 * len - 1)) bits |= UINT64_MAX << (8 * len);
    int64_t v;
    memcpy(&v, &bits, sizeof v);
    return push_kind(m, K_INT, v);
}

static anemo_status with_operand(torch_machine *m, int n, anemo_status (*fn)(torch_machine *, uint64_t))
{
    uint64_t v = 0;
    anemo_status status = operand(m, n, &v);
    return status == ANEMO_OK ? fn(m, v) : status;
}

static anemo_status push_unsigned(torch_machine *m, uint64_t v)
{
    return push_kind(m, K_INT, (int64_t)v);
}

static anemo_status push_signed32(torch_machine *m, uint64_t v)
{
    return push_kind(m, K_INT, (int64_t)v - (v >> 31 ? INT64_C(1) << 32 : 0));
}

static anemo_status skip_bytes(torch_machine *m, int n)
{
    return an_read_view(&m->r, (uint64_t)n) ? ANEMO_OK : cut_off(m);
}

static anemo_status push_tuple(torch_machine *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->n_stack <= i || m->stack[m->n_stack - 1 - i].kind == K_MARK)
            return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    return push_container(m, K_TUPLE, n);
}

static anemo_status drop(torch_machine *m)
{
    if (m->n_stack == 0) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    m->n_stack--;
    return ANEMO_OK;
}

static anemo_status drop_to_mark(torch_machine *m)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    if (status == ANEMO_OK) m->n_stack -= n + 1;
    return status;
}

/* Long: one line for each opcode. */
static anemo_status step(torch_machine *m)
{
    anemo_status status;
    switch (m->op) {
    case 0x80: return skip_bytes(m, 1);                 /* PROTO */
    case 0x95: return skip_bytes(m, 8);                 /* FRAME */
    case '(': return push_kind(m, K_MARK, 0);           /* MARK */
    case '0': return drop(m);                           /* POP */
    case '1': return drop_to_mark(m);                   /* POP_MARK */
    case 'N': return push_kind(m, K_NONE, 0);           /* NONE */
    case 0x88: return push_kind(m, K_BOOL, 1);          /* NEWTRUE */
    case 0x89: return push_kind(m, K_BOOL, 0);          /* NEWFALSE */
    case 'J': return with_operand(m, 4, push_signed32); /* BININT */
    case 'K': return with_operand(m, 1, push_unsigned); /* BININT1 */
    case 'M': return with_operand(m, 2, push_unsigned); /* BININT2 */
    case 0x8A: return push_long(m);                     /* LONG1 */
    case 'G':                                           /* BINFLOAT: no float matters here */
        status = skip_bytes(m, 8);
        return status == ANEMO_OK ? push_kind(m, K_NONE, 0) : status;
    case 'X':                                     /* BINUNICODE */
    case 'T':                                     /* BINSTRING */
    case 'B': return push_text(m, 4);             /* BINBYTES */
    case 0x8C:                                    /* SHORT_BINUNICODE */
    case 'U':                                     /* SHORT_BINSTRING */
    case 'C': return push_text(m, 1);             /* SHORT_BINBYTES */
    case 0x8D: return push_text(m, 8);            /* BINUNICODE8 */
    case ')': return push_container(m, K_TUPLE, 0); /* EMPTY_TUPLE */
    case 't': return collect(m, K_TUPLE);         /* TUPLE */
    case 0x85: return push_tuple(m, 1);           /* TUPLE1 */
    case 0x86: return push_tuple(m, 2);           /* TUPLE2 */
    case 0x87: return push_tuple(m, 3);           /* TUPLE3 */
    case ']': return push_container(m, K_LIST, 0);  /* EMPTY_LIST */
    case 'a': return append(m, K_LIST, 1, 0);     /* APPEND */
    case 'e': return append_above_mark(m, K_LIST); /* APPENDS */
    case 'l': return collect(m, K_LIST);          /* LIST */
    case '}': return push_container(m, K_DICT, 0);  /* EMPTY_DICT */
    case 's': return append(m, K_DICT, 2, 0);     /* SETITEM */
    case 'u': return append_above_mark(m, K_DICT); /* SETITEMS */
    case 'd': return collect(m, K_DICT);          /* DICT */
    case 0x8F: return push_kind(m, K_NONE, 0);    /* EMPTY_SET */
    case 'c': return op_global(m);
    case 0x93: return op_stack_global(m);
    case 'R':
    case 0x81: return op_reduce(m);
    case 'b': return op_build(m);
    case 'q': return with_operand(m, 1, memo_put); /* BINPUT */
    case 'r': return with_operand(m, 4, memo_put); /* LONG_BINPUT */
    case 0x94: return memo_put(m, m->n_memo);      /* MEMOIZE */
    case 'h': return with_operand(m, 1, memo_get); /* BINGET */
    case 'j': return with_operand(m, 4, memo_get); /* LONG_BINGET */
    case 'Q': return op_persid(m);
    default: return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED, "a checkpoint of tensors needs no such opcode; nothing was run");
    }
}

void an_torch_machine_free(torch_machine *m)
{
    for (torch_node *x = m->nodes, *next; x; x = next) {
        next = x->next;
        an_free(x->items);
        an_free(x);
    }
    an_free(m->stack);
    an_free(m->memo);
}

anemo_status an_torch_run(torch_machine *m, torch_value *top)
{
    anemo_status status = ANEMO_OK;
    m->n_memo = 0;
    for (;;) {
        m->op_pos = m->r.pos;
        if (!an_read_u8(&m->r, &m->op))
            return an_fail(m->err, ANEMO_ERR_FORMAT, "%s: %s ends at byte %" PRIu64 " without a stop", m->path, m->where,
                           m->op_pos);
        if (m->op == '.') break;
        AN_TRY(step(m));
    }
    AN_TRY(pop(m, top));
    m->n_stack = 0;
cleanup:
    return status;
}
