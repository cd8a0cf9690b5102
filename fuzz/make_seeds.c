/* Writes the seed inputs of the fuzz targets into a folder: make_seeds fuzz/corpus. Their output is
 * committed. */
#include "support/gguf_build.h"

#include <stdio.h>
#include <string.h>

static void write_seed(const char *dir, const char *target, const char *name, test_buf *file)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
    test_buf_write(file, path);
    test_buf_free(file);
}

/* One key of every type and arrays of every type. */
static test_buf all_types(void)
{
    static const uint32_t bytes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "llama");
    for (uint32_t type = 0; type < 13; type++) {
        char key[32];
        if (type == 9) continue;
        snprintf(key, sizeof key, "k.%u", (unsigned)type);
        if (type == 8)
            gguf_build_str(&b, key, "text");
        else {
            gguf_build_key(&b, key, type);
            test_buf_zero(&b.kv, bytes[type]);
        }
        snprintf(key, sizeof key, "a.%u", (unsigned)type);
        gguf_build_key(&b, key, 9);
        test_buf_u32(&b.kv, type);
        test_buf_u64(&b.kv, 2);
        test_buf_zero(&b.kv, type == 8 ? 16 : 2 * bytes[type]);
    }
    return gguf_build_finish(&b);
}

/* One small tensor of each usable type, with an alignment of 64. */
static test_buf all_tensors(void)
{
    static const struct {
        uint32_t type;
        size_t elems, bytes;
    } types[] = {{0, 4, 16},     {1, 4, 8},      {2, 32, 18},    {3, 32, 20},
                 {6, 32, 22},    {7, 32, 24},    {8, 32, 34},    {10, 256, 84},
                 {11, 256, 110}, {12, 256, 144}, {13, 256, 176}, {14, 256, 210},
                 {20, 32, 18},   {23, 256, 136}, {30, 4, 8},     {39, 32, 17}};
    gguf_build b;
    gguf_build_init(&b);
    b.version = 2;
    b.alignment = 64;
    gguf_build_u32(&b, "general.alignment", 64);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char name[16];
        int64_t n = (int64_t)types[i].elems;
        snprintf(name, sizeof name, "t%u", (unsigned)types[i].type);
        gguf_build_tensor(&b, name, types[i].type, 1, &n, NULL, types[i].bytes);
    }
    return gguf_build_finish(&b);
}

static test_buf empty(void)
{
    gguf_build b;
    gguf_build_init(&b);
    return gguf_build_finish(&b);
}

static test_buf split_part(void)
{
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_u16(&b, "split.no", 0);
    gguf_build_u16(&b, "split.count", 2);
    gguf_build_i32(&b, "split.tensors.count", 0);
    return gguf_build_finish(&b);
}

static test_buf tiny(uint32_t type)
{
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, type);
    test_buf file = gguf_build_finish(&b);
    return file;
}

/* A safetensors file from a header text and n zero bytes. */
static test_buf safetensors(const char *header, size_t n)
{
    test_buf b = {0};
    test_buf_u64(&b, strlen(header));
    test_buf_put(&b, header, strlen(header));
    test_buf_zero(&b, n);
    return b;
}

/* Two rows of 256 elements: a type's number, an MLX variant, then bytes that count up (fuzz_blocks.c). */
static test_buf blocks(unsigned char type, unsigned char variant, size_t n)
{
    test_buf b = {0};
    test_buf_put(&b, &type, 1);
    test_buf_put(&b, &variant, 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)(i * 37 % 61);
        test_buf_put(&b, &byte, 1);
    }
    return b;
}

/* An importance matrix in its older form: two entries, chunks, dataset. */
static test_buf imatrix_old(void)
{
    test_buf b = {0};
    test_buf_u32(&b, 2);
    for (int i = 0; i < 2; i++) {
        test_buf_u32(&b, 8);
        test_buf_put(&b, i ? "a.weight" : "b.weight", 8);
        test_buf_u32(&b, (uint32_t)(3 * i));
        test_buf_u32(&b, 4);
        for (int k = 0; k < 4; k++) test_buf_f32(&b, (float)(k * (i + 1)));
    }
    test_buf_u32(&b, 5);
    test_buf_u32(&b, 4);
    test_buf_put(&b, "text", 4);
    return b;
}

/* The same as GGUF, one matrix with two experts. */
static test_buf imatrix_gguf(void)
{
    static const float sums[] = {1, 2, 3, 4, 0, 0, 0, 0}, counts[] = {2, 0};
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_str(&b, "general.type", "imatrix");
    gguf_build_strs(&b, "imatrix.datasets", (const char *const[]){"text"}, 1);
    gguf_build_u32(&b, "imatrix.chunk_count", 5);
    gguf_build_u32(&b, "imatrix.chunk_size", 512);
    gguf_build_tensor(&b, "a.weight.in_sum2", 0, 2, (int64_t[]){2, 4}, sums, sizeof sums);
    gguf_build_tensor(&b, "a.weight.counts", 0, 2, (int64_t[]){2, 1}, counts, sizeof counts);
    return gguf_build_finish(&b);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    test_buf f;
    f = all_types();
    write_seed(argv[1], "gguf", "all_types", &f);
    f = all_tensors();
    write_seed(argv[1], "gguf", "all_tensors", &f);
    f = empty();
    write_seed(argv[1], "gguf", "empty", &f);
    f = split_part();
    write_seed(argv[1], "gguf", "split_part", &f);
    f = tiny(3);
    write_seed(argv[1], "gguf", "tiny_q4_1", &f);
    f = safetensors("{}", 0);
    write_seed(argv[1], "safetensors", "empty", &f);
    f = safetensors(
        "{\"__metadata__\":{\"format\":\"mlx\",\"a\":\"b\"},"
        "\"model.norm.weight\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},"
        "\"x.weight\":{\"dtype\":\"U32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
        "\"\\u00e9\\ud83d\\ude00\\n\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[16,17]},"
        "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[17,25]}}      ",
        25);
    write_seed(argv[1], "safetensors", "mixed", &f);
    f = safetensors("{\"e\":{\"data_offsets\":[0,0],\"dtype\":\"F8_E4M3\",\"shape\":[0,7]}}", 0);
    write_seed(argv[1], "safetensors", "no_elements", &f);
    f = imatrix_old();
    write_seed(argv[1], "imatrix", "old", &f);
    f = imatrix_gguf();
    write_seed(argv[1], "imatrix", "gguf", &f);
    for (unsigned char type = 0; type <= 15; type++) {
        char name[16];
        snprintf(name, sizeof name, "type_%d", type);
        f = blocks(type, (unsigned char)(type * 5), 640);
        write_seed(argv[1], "blocks", name, &f);
    }
    return 0;
}
