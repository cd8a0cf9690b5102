/* Names of MLX's quantized types and mlx-lm's mixed recipes. */
#include "convert/mlx_type.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    an_mlx_form form;
    int high_bits;
    bool grouped; /* "-gN" may follow */
} types[] = {
    {"2bit", {AN_MLX_AFFINE, 2, 64}, 0, true},
    {"3bit", {AN_MLX_AFFINE, 3, 64}, 0, true},
    {"4bit", {AN_MLX_AFFINE, 4, 64}, 0, true},
    {"5bit", {AN_MLX_AFFINE, 5, 64}, 0, true},
    {"6bit", {AN_MLX_AFFINE, 6, 64}, 0, true},
    {"8bit", {AN_MLX_AFFINE, 8, 64}, 0, true},
    {"mixed_2_6", {AN_MLX_AFFINE, 2, 64}, 6, true},
    {"mixed_3_4", {AN_MLX_AFFINE, 3, 64}, 4, true},
    {"mixed_3_6", {AN_MLX_AFFINE, 3, 64}, 6, true},
    {"mixed_4_6", {AN_MLX_AFFINE, 4, 64}, 6, true},
    {"mxfp4", {AN_MLX_MXFP4, 4, 32}, 0, false},
    {"mxfp8", {AN_MLX_MXFP8, 8, 32}, 0, false},
    {"nvfp4", {AN_MLX_NVFP4, 4, 16}, 0, false},
};

bool an_mlx_type_find(const char *name, an_mlx_type *type)
{
    *type = (an_mlx_type){.none = true};
    if (!strcmp(name, "none")) return true;
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        size_t n = strlen(types[i].name);
        if (strncmp(name, types[i].name, n)) continue;
        *type = (an_mlx_type){false, types[i].form, types[i].high_bits};
        if (!name[n]) return true;
        if (!types[i].grouped) continue;
        for (int group = 32; group <= 128; group *= 2) {
            char tail[8];
            snprintf(tail, sizeof tail, "-g%d", group);
            type->form.group = group;
            if (!strcmp(name + n, tail)) return true;
        }
    }
    return false;
}

const char *an_mlx_type_list(void)
{
    return "2bit 3bit 4bit 5bit 6bit 8bit (with -g32, -g64 or -g128), mxfp4 mxfp8 nvfp4, mixed_2_6 mixed_3_4 mixed_3_6 "
           "mixed_4_6, none";
}

const char *an_mlx_mode_name(an_mlx_mode mode)
{
    static const char *const names[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
    return names[mode];
}

void an_mlx_form_name(const an_mlx_form *form, char out[AN_MLX_TYPE_NAME_MAX])
{
    if (form->mode == AN_MLX_AFFINE) snprintf(out, AN_MLX_TYPE_NAME_MAX, "%d-bit g%d", form->bits, form->group);
    else snprintf(out, AN_MLX_TYPE_NAME_MAX, "%s", an_mlx_mode_name(form->mode));
}

an_mlx_form an_mlx_type_form(const an_mlx_type *type, an_field field, int layer, int n_layer)
{
    an_mlx_form form = type->form;
    int eighth = n_layer / 8;
    bool more = layer < eighth || layer >= 7 * n_layer / 8 || (layer - eighth) % 3 == 2;
    bool high = field == AN_FIELD_OUTPUT || (more && (field == AN_FIELD_ATTN_V || field == AN_FIELD_FFN_DOWN));
    if (type->high_bits && high) form.bits = type->high_bits;
    return form;
}
