/*
 * Linked with --wrap: this processor seems to have AVX-VNNI, and the level of that name is the one whose instruction AVX-512
 * encodes (kernels/vnni512.c). So what tests say of "avxvnni" is said where only AVX-512 is there.
 */
#include "base/isa.h"
#include "kernels/table.h"

#include <string.h>

extern const an_kernels kcheck_vnni512;
uint32_t __real_an_cpu_isa(void);
uint32_t __wrap_an_cpu_isa(void);
const an_kernels *__real_an_kernels_for(uint32_t isa_mask);
const an_kernels *__wrap_an_kernels_for(uint32_t isa_mask);

uint32_t __wrap_an_cpu_isa(void)
{
    uint32_t isa = __real_an_cpu_isa();
    return kcheck_vnni512.needs & ~isa ? isa & ~(uint32_t)AN_ISA_AVX_VNNI : isa | AN_ISA_AVX_VNNI;
}

const an_kernels *__wrap_an_kernels_for(uint32_t isa_mask)
{
    static an_kernels table;
    const an_kernels *real = __real_an_kernels_for(isa_mask);
    if (strcmp(real->name, "avxvnni")) return real;
    table = kcheck_vnni512;
    table.name = real->name;
    return &table;
}
