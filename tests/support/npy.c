/* The NumPy reader of the tests. */
#include "support/npy.h"

#include "base/alloc.h"
#include "os/file.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_BYTES = 10 };

/* Rows and columns out of the header's text. */
static bool parse_header(const char *text, size_t *n_row, size_t *n_col)
{
    const char *shape = strstr(text, "'shape': (");
    unsigned long rows, cols;
    if (!strstr(text, "'descr': '<f4'") || !strstr(text, "'fortran_order': False") || !shape) return false;
    if (sscanf(shape, "'shape': (%lu, %lu)", &rows, &cols) != 2) return false;
    *n_row = rows;
    *n_col = cols;
    return true;
}

anemo_status test_npy_read(const char *path, float **data, size_t *n_row, size_t *n_col,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *bytes = NULL, header[512] = "";
    float *values = NULL;
    size_t n, rows = 0, cols = 0;
    AN_TRY(an_file_read(path, UINT64_C(1) << 30, &bytes, &n, err));
    const unsigned char *u = (const unsigned char *)bytes;
    size_t header_bytes = n >= PREFIX_BYTES ? (size_t)u[8] | (size_t)u[9] << 8 : 0;
    bool good = n >= PREFIX_BYTES && !memcmp(bytes, "\x93NUMPY\x01", 7) && header_bytes < sizeof header &&
                n >= PREFIX_BYTES + header_bytes;
    if (good) {
        memcpy(header, bytes + PREFIX_BYTES, header_bytes);
        good = parse_header(header, &rows, &cols) && cols > 0 &&
               rows <= (n - PREFIX_BYTES - header_bytes) / sizeof(float) / cols;
    }
    if (!good) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a float32 matrix in NumPy's format", path);
        goto cleanup;
    }
    values = an_malloc(rows * cols * sizeof *values);
    if (!values) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    memcpy(values, bytes + PREFIX_BYTES + header_bytes, rows * cols * sizeof *values);
    *data = values;
    *n_row = rows;
    *n_col = cols;
cleanup:
    an_free(bytes);
    return status;
}
