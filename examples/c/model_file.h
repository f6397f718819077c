/* Reads the parts of a tidegate model file that a network needs. The format is specified in
   src/tidegate/model/checkpoint.py: a safetensors file, that is a JSON header and then the tensors.
 */
#ifndef MODEL_FILE_H
#define MODEL_FILE_H

#include <stdint.h>

typedef struct {
    char* bytes; /* the whole file */
    int64_t size;
    const char *header, *header_end; /* within `bytes` */
    char* description;               /* the JSON text about the model: cell, encoder, labels, ... */
} model_file;

/* Returns 0, or -1 and prints why. Free it with model_file_close. */
int model_file_open(model_file* file, const char* path);
void model_file_close(model_file* file);

/* The tensor `network.NAME`, float32, and its shape; columns is 0 for a row of numbers. NULL where
   the file has none. */
const float* model_file_tensor(const model_file* file, const char* name, int64_t* rows,
                               int64_t* columns);

/* Whether the file holds a tensor of this whole name, such as `counts.shares`. */
int model_file_has(const model_file* file, const char* name);

/* The description's first text under `key`, without JSON's escapes, which the caller frees; NULL
   where there is none. */
char* model_file_text(const model_file* file, const char* key);

#endif
