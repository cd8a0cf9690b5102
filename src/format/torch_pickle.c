/*
 * The data-only pickle machine (formats.md 5.2). Values are numbers, strings, plain containers, names of known globals,
 * storages and tensors; a "call" is one of a few constructions that are carried out here. Every value on the stack was
 * pushed by an opcode of the input, so that memory is bounded by the pickle's length; nothing recurses.
 */
#include "format/torch_internal.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum kind {
    K_NONE, /* also what carries no data for us: floats, sets, devices, states */
    K_BOOL,
    K_INT,
    K_TEXT,
    K_TUPLE,
    K_LIST,
    K_DICT, /* items: key, value, key, value… */
    K_GLOBAL,
    K_STORAGE,
    K_TENSOR,
    K_MARK,
} kind;

typedef struct node node;
typedef struct global global;

typedef struct value {
    kind kind;
    union {
        int64_t i;
        node *node;
        const global *global;
        an_torch_tensor *tensor;
        struct {
            const char *text;
            uint64_t len;
        } text;
    } u;
} value;

/* Everything on the heap is one of these, in a list. */
struct node {
    node *next;
    value *items; /* of a container */
    size_t n, cap;
    const torch_zip_entry *entry; /* of a storage */
    an_dtype dtype;
    bool untyped;
    uint64_t numel;
    an_torch_tensor tensor;
};

typedef enum action {
    A_DICT,
    A_TENSOR,    /* _rebuild_tensor, _v2 */
    A_TENSOR_V3, /* … with its dtype */
    A_PARAMETER, /* its first argument */
    A_FROM_TYPE, /* (func, type, args, state) */
    A_INERT,
    A_STORAGE,
    A_UNTYPED,
    A_DTYPE,
} action;

struct global {
    const char *name;
    action action;
    an_dtype dtype;
};

static const global GLOBALS[] = {
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

typedef struct machine {
    an_reader r;
    const torch_zip *zip;
    const char *prefix, *path;
    uint64_t prefix_len;
    node *nodes;
    value *stack, *memo;
    size_t n_stack, cap_stack, n_memo, cap_memo;
    uint8_t op;      /* the current opcode… */
    uint64_t op_pos; /* …and where it stands */
    anemo_error *err;
} machine;

static anemo_status fail_at(machine *m, anemo_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static anemo_status fail_at(machine *m, anemo_status status, const char *fmt, ...)
{
    char what[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return an_fail(m->err, status, "%s: data.pkl: opcode %s 0x%02x at byte %" PRIu64 ": %s", m->path,
                   opcode_name(m->op), m->op, m->op_pos, what);
}

static anemo_status no_memory(machine *m)
{
    return an_fail(m->err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
}

static anemo_status cut_off(machine *m)
{
    return fail_at(m, ANEMO_ERR_FORMAT, "the pickle is cut off here");
}

static bool grow(value **items, size_t *cap, size_t need)
{
    if (need <= *cap) return true;
    size_t n = *cap * 2 > need ? *cap * 2 : need + 16;
    value *grown = an_realloc(*items, n * sizeof *grown);
    if (!grown) return false;
    *items = grown;
    *cap = n;
    return true;
}

static anemo_status push(machine *m, value v)
{
    if (!grow(&m->stack, &m->cap_stack, m->n_stack + 1)) return no_memory(m);
    m->stack[m->n_stack++] = v;
    return ANEMO_OK;
}

static anemo_status push_kind(machine *m, kind k, int64_t i)
{
    return push(m, (value){.kind = k, .u.i = i});
}

/* The top value that is not a mark. */
static anemo_status pop(machine *m, value *out)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == K_MARK)
        return fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    *out = m->stack[--m->n_stack];
    return ANEMO_OK;
}

static node *new_node(machine *m)
{
    node *x = an_calloc(1, sizeof *x);
    if (!x) return NULL;
    x->next = m->nodes;
    m->nodes = x;
    return x;
}

/* Take the top n values into a new container and push it. */
static anemo_status push_container(machine *m, kind k, size_t n)
{
    node *x = new_node(m);
    if (!x) return no_memory(m);
    if (n > 0) {
        if (!grow(&x->items, &x->cap, n)) return no_memory(m);
        memcpy(x->items, m->stack + m->n_stack - n, n * sizeof *x->items);
        x->n = n;
        m->n_stack -= n;
    }
    return push(m, (value){.kind = k, .u.node = x});
}

/* How many values stand above the last mark. */
static anemo_status above_mark(machine *m, size_t *n)
{
    size_t i = m->n_stack;
    while (i > 0 && m->stack[i - 1].kind != K_MARK) i--;
    if (i == 0) return fail_at(m, ANEMO_ERR_FORMAT, "no mark on the stack");
    *n = m->n_stack - i;
    return ANEMO_OK;
}

/* Move the values above the mark into a container, in the mark's place. */
static anemo_status collect(machine *m, kind k)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    if (status != ANEMO_OK) return status;
    if (k == K_DICT && n % 2) return fail_at(m, ANEMO_ERR_FORMAT, "a key without a value");
    status = push_container(m, k, n);
    if (status != ANEMO_OK) return status;
    m->stack[m->n_stack - 2] = m->stack[m->n_stack - 1];
    m->n_stack--;
    return ANEMO_OK;
}

/* Append the top n values to the list or dictionary below them (and below a mark). */
static anemo_status append(machine *m, kind k, size_t n, size_t marks)
{
    size_t below = n + marks;
    if (k == K_DICT && n % 2) return fail_at(m, ANEMO_ERR_FORMAT, "a key without a value");
    if (m->n_stack <= below || m->stack[m->n_stack - below - 1].kind != k)
        return fail_at(m, ANEMO_ERR_FORMAT, "no %s on the stack", k == K_DICT ? "dictionary" : "list");
    for (size_t i = m->n_stack - n; i < m->n_stack; i++)
        if (m->stack[i].kind == K_MARK) return fail_at(m, ANEMO_ERR_FORMAT, "a mark in the way");
    node *x = m->stack[m->n_stack - below - 1].u.node;
    if (n > 0) {
        if (!grow(&x->items, &x->cap, x->n + n)) return no_memory(m);
        memcpy(x->items + x->n, m->stack + m->n_stack - n, n * sizeof *x->items);
        x->n += n;
    }
    m->n_stack -= below;
    return ANEMO_OK;
}

static anemo_status append_above_mark(machine *m, kind k)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    return status == ANEMO_OK ? append(m, k, n, 1) : status;
}

/* ---------------------------------------------------------------------------------------------------------- memo */

static anemo_status memo_put(machine *m, uint64_t i)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == K_MARK)
        return fail_at(m, ANEMO_ERR_FORMAT, "nothing to remember");
    if (i > m->op_pos)
        return fail_at(m, ANEMO_ERR_FORMAT, "memo index %" PRIu64 " is out of range", i);
    if (!grow(&m->memo, &m->cap_memo, (size_t)i + 1)) return no_memory(m);
    while (m->n_memo <= i) m->memo[m->n_memo++] = (value){.kind = K_MARK};
    m->memo[i] = m->stack[m->n_stack - 1];
    return ANEMO_OK;
}

static anemo_status memo_get(machine *m, uint64_t i)
{
    if (i >= m->n_memo || m->memo[i].kind == K_MARK)
        return fail_at(m, ANEMO_ERR_FORMAT, "nothing is remembered as %" PRIu64, i);
    return push(m, m->memo[i]);
}

/* ------------------------------------------------------------------------------------------- globals and storages */

static anemo_status push_global(machine *m, const char *module, uint64_t n_module, const char *name,
                                uint64_t n_name)
{
    for (size_t i = 0; i < AN_COUNT_OF(GLOBALS); i++) {
        const char *g = GLOBALS[i].name;
        if (strlen(g) == n_module + 1 + n_name && memcmp(g, module, n_module) == 0 &&
            g[n_module] == '.' && memcmp(g + n_module + 1, name, n_name) == 0)
            return push(m, (value){.kind = K_GLOBAL, .u.global = &GLOBALS[i]});
    }
    char shown[162];
    snprintf(shown, sizeof shown, "%.*s.%.*s", n_module < 80 ? (int)n_module : 80, module,
             n_name < 80 ? (int)n_name : 80, name);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E) *c = '?';
    return fail_at(m, ANEMO_ERR_UNSUPPORTED,
                "refers to %s, which is neither a tensor nor a plain container; nothing was run. "
                "Use the model's safetensors files, or save its state_dict alone",
                shown);
}

static anemo_status read_line(machine *m, const char **text, uint64_t *n)
{
    const unsigned char *begin = m->r.data + m->r.pos;
    const unsigned char *end = memchr(begin, '\n', (size_t)an_reader_left(&m->r));
    if (!end) return cut_off(m);
    *text = (const char *)begin;
    *n = (uint64_t)(end - begin);
    m->r.pos += *n + 1;
    return ANEMO_OK;
}

static anemo_status op_global(machine *m)
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

static anemo_status op_stack_global(machine *m)
{
    anemo_status status = ANEMO_OK;
    value module = {0}, name = {0};
    AN_TRY(pop(m, &name));
    AN_TRY(pop(m, &module));
    if (module.kind != K_TEXT || name.kind != K_TEXT)
        return fail_at(m, ANEMO_ERR_FORMAT, "a global needs two strings");
    AN_TRY(push_global(m, module.u.text.text, module.u.text.len, name.u.text.text, name.u.text.len));
cleanup:
    return status;
}

/* ('storage', class, key, location, number of elements) */
static anemo_status op_persid(machine *m)
{
    anemo_status status = ANEMO_OK;
    value v = {0};
    char name[300];
    AN_TRY(pop(m, &v));
    const value *item = v.kind == K_TUPLE ? v.u.node->items : NULL;
    if (!item || v.u.node->n != 5 || item[0].kind != K_TEXT || item[0].u.text.len != 7 ||
        memcmp(item[0].u.text.text, "storage", 7) != 0 || item[1].kind != K_GLOBAL ||
        (item[1].u.global->action != A_STORAGE && item[1].u.global->action != A_UNTYPED) ||
        item[2].kind != K_TEXT || item[4].kind != K_INT || item[4].u.i < 0)
        return fail_at(m, ANEMO_ERR_FORMAT, "the reference is no storage");
    uint64_t n_key = item[2].u.text.len;
    if (n_key > 64 || m->prefix_len > 200)
        return fail_at(m, ANEMO_ERR_FORMAT, "the key of a storage is too long");
    int n = snprintf(name, sizeof name, "%.*sdata/%.*s", (int)m->prefix_len, m->prefix, (int)n_key,
                     item[2].u.text.text);
    const torch_zip_entry *entry = an_torch_zip_find(m->zip, name, (uint64_t)n);
    if (!entry) return fail_at(m, ANEMO_ERR_FORMAT, "the archive has no storage %s", name);
    an_dtype dtype = item[1].u.global->dtype;
    uint64_t bytes, numel = (uint64_t)item[4].u.i;
    if (!an_mul_u64(numel, (uint64_t)an_dtype_get(dtype)->block_bytes, &bytes) || bytes > entry->size)
        return fail_at(m, ANEMO_ERR_FORMAT, "storage %s has %" PRIu64 " bytes, too few for %" PRIu64 " elements",
                    name, entry->size, numel);
    node *x = new_node(m);
    if (!x) return no_memory(m);
    x->entry = entry;
    x->dtype = dtype;
    x->untyped = item[1].u.global->action == A_UNTYPED;
    x->numel = numel;
    AN_TRY(push(m, (value){.kind = K_STORAGE, .u.node = x}));
cleanup:
    return status;
}

/* -------------------------------------------------------------------------------------------------------- tensors */

/* The whole view lies in its storage, and it shows no element twice. */
static anemo_status check_view(machine *m, an_torch_tensor *t, uint64_t offset, uint64_t numel)
{
    uint64_t count = 1, last = offset, step, size = (uint64_t)an_dtype_get(t->dtype)->block_bytes;
    bool ok = true;
    for (int i = 0; i < t->n_dim; i++) ok = ok && an_mul_u64(count, (uint64_t)t->shape[i], &count);
    if (!ok || !an_mul_u64(count, size, &t->bytes))
        return fail_at(m, ANEMO_ERR_FORMAT, "the number of a tensor's elements overflows");
    t->contiguous = true;
    if (count == 0) return ANEMO_OK;
    int64_t dense = 1;
    for (int i = t->n_dim - 1; i >= 0; i--) {
        ok = ok && an_mul_u64((uint64_t)t->shape[i] - 1, (uint64_t)t->stride[i], &step) &&
             an_add_u64(last, step, &last);
        if (t->shape[i] > 1 && t->stride[i] != dense) t->contiguous = false;
        dense *= t->shape[i];
    }
    if (!ok || last >= numel)
        return fail_at(m, ANEMO_ERR_FORMAT,
                    "a tensor reaches beyond its storage of %" PRIu64 " elements", numel);
    if (count > numel)
        return fail_at(m, ANEMO_ERR_UNSUPPORTED,
                    "a tensor of %" PRIu64 " elements repeats those of a storage of %" PRIu64, count,
                    numel);
    return ANEMO_OK;
}

static anemo_status rebuild_tensor(machine *m, const node *args, bool v3)
{
    const value *a = args->items;
    if (args->n < (v3 ? 7u : 4u) || a[0].kind != K_STORAGE || a[1].kind != K_INT || a[1].u.i < 0 ||
        a[2].kind != K_TUPLE || a[3].kind != K_TUPLE || a[2].u.node->n != a[3].u.node->n ||
        a[2].u.node->n > AN_TORCH_DIMS_MAX ||
        (v3 && (a[6].kind != K_GLOBAL || a[6].u.global->action != A_DTYPE)) ||
        (!v3 && a[0].u.node->untyped))
        return fail_at(m, ANEMO_ERR_FORMAT, "the arguments are not those of a tensor");
    const node *storage = a[0].u.node, *shape = a[2].u.node, *stride = a[3].u.node;
    an_torch_tensor t = {.dtype = v3 ? a[6].u.global->dtype : storage->dtype, .n_dim = (int)shape->n};
    uint64_t size = (uint64_t)an_dtype_get(t.dtype)->block_bytes;
    for (size_t i = 0; i < shape->n; i++) {
        const value *d = &shape->items[i], *s = &stride->items[i];
        if (d->kind != K_INT || s->kind != K_INT || d->u.i < 0 || s->u.i < 0)
            return fail_at(m, ANEMO_ERR_FORMAT, "a tensor's sizes and strides must not be negative");
        t.shape[i] = d->u.i;
        t.stride[i] = s->u.i;
    }
    uint64_t held = storage->numel * (uint64_t)an_dtype_get(storage->dtype)->block_bytes;
    uint64_t offset = (uint64_t)a[1].u.i;
    anemo_status status = check_view(m, &t, offset, held / size);
    if (status != ANEMO_OK) return status;
    t.data = storage->entry->data + (t.bytes ? offset * size : 0);
    node *x = new_node(m);
    if (!x) return no_memory(m);
    x->tensor = t;
    return push(m, (value){.kind = K_TENSOR, .u.tensor = &x->tensor});
}

/* A dictionary from nothing or from a list of pairs. */
static anemo_status build_dict(machine *m, const node *args)
{
    node *x = new_node(m);
    if (!x) return no_memory(m);
    const node *pairs = args->n == 1 && args->items[0].kind == K_LIST ? args->items[0].u.node : NULL;
    if (args->n > 1 || (args->n == 1 && !pairs))
        return fail_at(m, ANEMO_ERR_FORMAT, "the arguments are not those of a dictionary");
    for (size_t i = 0; pairs && i < pairs->n; i++) {
        const value *pair = &pairs->items[i];
        if ((pair->kind != K_TUPLE && pair->kind != K_LIST) || pair->u.node->n != 2)
            return fail_at(m, ANEMO_ERR_FORMAT, "a dictionary is built of pairs");
        if (!grow(&x->items, &x->cap, x->n + 2)) return no_memory(m);
        memcpy(x->items + x->n, pair->u.node->items, 2 * sizeof *x->items);
        x->n += 2;
    }
    return push(m, (value){.kind = K_DICT, .u.node = x});
}

/* What a call of a known global with these arguments gives. */
static anemo_status construct(machine *m, const global *g, const node *args)
{
    if (g->action == A_FROM_TYPE) {
        const value *a = args->items;
        if (args->n != 4 || a[0].kind != K_GLOBAL || a[2].kind != K_TUPLE ||
            a[0].u.global->action > A_PARAMETER || a[0].u.global->action == A_DICT)
            return fail_at(m, ANEMO_ERR_UNSUPPORTED, "%s does not rebuild a tensor", g->name);
        g = a[0].u.global;
        args = a[2].u.node;
    }
    switch (g->action) {
    case A_DICT: return build_dict(m, args);
    case A_TENSOR: return rebuild_tensor(m, args, false);
    case A_TENSOR_V3: return rebuild_tensor(m, args, true);
    case A_PARAMETER:
        if (args->n < 1 || args->items[0].kind != K_TENSOR)
            return fail_at(m, ANEMO_ERR_FORMAT, "a parameter without its tensor");
        return push(m, args->items[0]);
    case A_INERT: return push_kind(m, K_NONE, 0);
    default: return fail_at(m, ANEMO_ERR_UNSUPPORTED, "%s cannot be called", g->name);
    }
}

static anemo_status op_reduce(machine *m)
{
    anemo_status status = ANEMO_OK;
    value args = {0}, callee = {0};
    AN_TRY(pop(m, &args));
    AN_TRY(pop(m, &callee));
    if (callee.kind != K_GLOBAL || args.kind != K_TUPLE)
        return fail_at(m, ANEMO_ERR_FORMAT, "a call needs a global and a tuple");
    AN_TRY(construct(m, callee.u.global, args.u.node));
cleanup:
    return status;
}

static anemo_status op_build(machine *m)
{
    anemo_status status = ANEMO_OK;
    value state = {0};
    AN_TRY(pop(m, &state));
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind != K_DICT)
        return fail_at(m, ANEMO_ERR_UNSUPPORTED, "only a dictionary may have a state");
cleanup:
    return status;
}

/* --------------------------------------------------------------------------------------------------------- opcodes */

/* An unsigned little-endian number of n bytes that follows the opcode. */
static anemo_status operand(machine *m, int n, uint64_t *out)
{
    const unsigned char *p = an_read_view(&m->r, (uint64_t)n);
    if (!p) return cut_off(m);
    *out = 0;
    for (int i = n - 1; i >= 0; i--) *out = *out << 8 | p[i];
    return ANEMO_OK;
}

static anemo_status push_text(machine *m, int n_len)
{
    uint64_t len = 0;
    anemo_status status = operand(m, n_len, &len);
    if (status != ANEMO_OK) return status;
    const char *text = an_read_view(&m->r, len);
    if (!text) return cut_off(m);
    return push(m, (value){.kind = K_TEXT, .u.text = {text, len}});
}

/* A little-endian two's complement number of up to eight bytes. */
static anemo_status push_long(machine *m)
{
    uint64_t len = 0, bits = 0;
    anemo_status status = operand(m, 1, &len);
    if (status != ANEMO_OK) return status;
    if (len > 8) return fail_at(m, ANEMO_ERR_UNSUPPORTED, "an integer of %" PRIu64 " bytes", len);
    status = operand(m, (int)len, &bits);
    if (status != ANEMO_OK) return status;
    if (len > 0 && len < 8 && bits >> (8 * len - 1)) bits |= UINT64_MAX << (8 * len);
    int64_t v;
    memcpy(&v, &bits, sizeof v);
    return push_kind(m, K_INT, v);
}

static anemo_status with_operand(machine *m, int n, anemo_status (*fn)(machine *, uint64_t))
{
    uint64_t v = 0;
    anemo_status status = operand(m, n, &v);
    return status == ANEMO_OK ? fn(m, v) : status;
}

static anemo_status push_unsigned(machine *m, uint64_t v)
{
    return push_kind(m, K_INT, (int64_t)v);
}

static anemo_status push_signed32(machine *m, uint64_t v)
{
    return push_kind(m, K_INT, (int64_t)v - (v >> 31 ? INT64_C(1) << 32 : 0));
}

static anemo_status skip_bytes(machine *m, int n)
{
    return an_read_view(&m->r, (uint64_t)n) ? ANEMO_OK : cut_off(m);
}

static anemo_status push_tuple(machine *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->n_stack <= i || m->stack[m->n_stack - 1 - i].kind == K_MARK)
            return fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    return push_container(m, K_TUPLE, n);
}

static anemo_status drop(machine *m)
{
    if (m->n_stack == 0) return fail_at(m, ANEMO_ERR_FORMAT, "the stack is empty");
    m->n_stack--;
    return ANEMO_OK;
}

static anemo_status drop_to_mark(machine *m)
{
    size_t n = 0;
    anemo_status status = above_mark(m, &n);
    if (status == ANEMO_OK) m->n_stack -= n + 1;
    return status;
}

/* Long: one line for each opcode. */
static anemo_status step(machine *m)
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
    default: return fail_at(m, ANEMO_ERR_UNSUPPORTED, "a checkpoint of tensors needs no such opcode; nothing was run");
    }
}

/* ------------------------------------------------------------------------------------------------------- the result */

static size_t count_tensors(const node *dict)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < dict->n; i += 2)
        n += dict->items[i].kind == K_TEXT && dict->items[i + 1].kind == K_TENSOR;
    return n;
}

/* The dictionary of tensors: the top value, or one level below it under a usual name. */
static const node *find_tensors(const value *top)
{
    static const char *const INNER[] = {"state_dict", "model", "module"};
    if (top->kind != K_DICT) return NULL;
    const node *d = top->u.node;
    if (count_tensors(d) > 0) return d;
    for (size_t i = 0; i + 1 < d->n; i += 2)
        for (size_t k = 0; k < AN_COUNT_OF(INNER); k++)
            if (d->items[i].kind == K_TEXT && d->items[i + 1].kind == K_DICT &&
                d->items[i].u.text.len == strlen(INNER[k]) &&
                memcmp(d->items[i].u.text.text, INNER[k], strlen(INNER[k])) == 0 &&
                count_tensors(d->items[i + 1].u.node) > 0)
                return d->items[i + 1].u.node;
    return NULL;
}

static anemo_status take_tensors(machine *m, const node *dict, an_torch_tensor **out, size_t *n_out)
{
    size_t n = 0;
    an_torch_tensor *all = an_calloc(count_tensors(dict), sizeof *all);
    if (!all) return no_memory(m);
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const value *key = &dict->items[i], *v = &dict->items[i + 1];
        if (key->kind != K_TEXT || v->kind != K_TENSOR) continue;
        all[n] = *v->u.tensor;
        bool plain = key->u.text.len > 0 && !memchr(key->u.text.text, '\0', (size_t)key->u.text.len);
        all[n].name = plain ? an_strndup(key->u.text.text, (size_t)key->u.text.len) : NULL;
        if (!all[n].name) {
            while (n > 0) an_free((char *)all[--n].name);
            an_free(all);
            if (plain) return no_memory(m);
            return an_fail(m->err, ANEMO_ERR_FORMAT, "%s: data.pkl: a tensor's name is empty or holds a NUL",
                           m->path);
        }
        n++;
    }
    *out = all;
    *n_out = n;
    return ANEMO_OK;
}

static void close_machine(machine *m)
{
    for (node *x = m->nodes, *next; x; x = next) {
        next = x->next;
        an_free(x->items);
        an_free(x);
    }
    an_free(m->stack);
    an_free(m->memo);
}

anemo_status an_torch_unpickle(const unsigned char *data, uint64_t n, const torch_zip *zip,
                               const char *prefix, uint64_t prefix_len, const char *path,
                               an_torch_tensor **out, size_t *n_out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    machine m = {.r = {data, n, 0},
                 .zip = zip,
                 .prefix = prefix,
                 .prefix_len = prefix_len,
                 .path = path,
                 .err = err};
    for (;;) {
        m.op_pos = m.r.pos;
        if (!an_read_u8(&m.r, &m.op)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: data.pkl ends at byte %" PRIu64 " without a stop",
                             path, n);
            goto cleanup;
        }
        if (m.op == '.') break;
        AN_TRY(step(&m));
    }
    value top = {0};
    AN_TRY(pop(&m, &top));
    const node *tensors = find_tensors(&top);
    if (!tensors) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: data.pkl holds no dictionary of tensors", path);
        goto cleanup;
    }
    AN_TRY(take_tensors(&m, tensors, out, n_out));
cleanup:
    close_machine(&m);
    return status;
}
