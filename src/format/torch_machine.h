/*
 * The data-only pickle machine's values and state, for the two files it is made of: torch_pickle.c
 * runs opcodes, torch_build.c knows storages, tensors and what a checkpoint looks like.
 */
#ifndef AN_FORMAT_TORCH_MACHINE_H
#define AN_FORMAT_TORCH_MACHINE_H

#include "base/bytes.h"
#include "format/torch_internal.h"

typedef enum torch_kind {
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
} torch_kind;

typedef struct torch_node torch_node;
typedef struct torch_global torch_global;

typedef struct torch_value {
    torch_kind kind;
    union {
        int64_t i;
        torch_node *node; /* a container, a storage, a tensor */
        const torch_global *global;
        struct {
            const char *text;
            uint64_t len;
        } text;
    } u;
} torch_value;

/* Everything on the heap is one of these, in a list. */
struct torch_node {
    torch_node *next;
    torch_kind kind;    /* set for storages only */
    torch_value *items; /* of a container */
    size_t n, cap;
    const unsigned char *base; /* of a storage: its data; NULL until they are known… */
    const char *key;           /* …and its name in the file */
    uint64_t key_len;
    an_dtype dtype;
    bool untyped;
    uint64_t numel;
    an_torch_tensor tensor;    /* without its data… */
    const torch_node *storage; /* …which lie here… */
    uint64_t offset;           /* …so many bytes in */
};

typedef enum torch_action {
    A_DICT,
    A_TENSOR,    /* _rebuild_tensor, _v2 */
    A_TENSOR_V3, /* … with its dtype */
    A_PARAMETER, /* its first argument */
    A_FROM_TYPE, /* (func, type, args, state) */
    A_INERT,
    A_STORAGE,
    A_UNTYPED,
    A_DTYPE,
} torch_action;

struct torch_global {
    const char *name;
    torch_action action;
    an_dtype dtype;
};

typedef struct torch_machine {
    an_reader r;
    const torch_zip *zip; /* NULL for the stream form, whose storages follow the pickles */
    const char *prefix, *path;
    const char *where; /* "data.pkl", for messages */
    uint64_t prefix_len;
    torch_node *nodes;
    torch_value *stack, *memo;
    size_t n_stack, cap_stack, n_memo, cap_memo;
    uint8_t op;      /* the current opcode… */
    uint64_t op_pos; /* …and where it stands */
    anemo_error *err;
} torch_machine;

/* Run one pickle to its stop; the stack is empty before and after. Gives its value, which lives as
 * long as the nodes. */
ANEMO_MUST_CHECK anemo_status an_torch_run(torch_machine *m, torch_value *top);
void an_torch_machine_free(torch_machine *m);

/* A failure at the current opcode. */
anemo_status an_torch_fail_at(torch_machine *m, anemo_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
anemo_status an_torch_no_memory(torch_machine *m);

ANEMO_MUST_CHECK anemo_status an_torch_push(torch_machine *m, torch_value v);
torch_node *an_torch_new_node(torch_machine *m); /* NULL: out of memory */
bool an_torch_grow(torch_value **items, size_t *cap, size_t need);

/* Push what a call of a known global with these arguments gives. */
ANEMO_MUST_CHECK anemo_status an_torch_construct(torch_machine *m, const torch_global *g,
                                                 const torch_node *args);
/* Push the storage that a persistent reference means. */
ANEMO_MUST_CHECK anemo_status an_torch_refer(torch_machine *m, const torch_value *v);

#endif
