#include "model_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char* put_utf8(char* out, unsigned long code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* The JSON string that begins after its quote at `at`, without escapes; NULL if it has no end. */
static char* unescaped(const char* at, const char* end) {
    char *text = malloc((size_t)(end - at) + 1), *out = text;
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    while (text && at < end && *at != '"') {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        if (++at >= end) break;
        const char* plain = memchr(from, *at, sizeof from - 1);
        if (plain) {
            *out++ = to[plain - from];
            ++at;
        } else if (*at == 'u' && end - at > 5) {
            char digits[5] = {at[1], at[2], at[3], at[4], 0};
            unsigned long code = strtoul(digits, NULL, 16);
            at += 5;
            if (code >= 0xD800 && code < 0xDC00 && end - at > 6 && at[0] == '\\' && at[1] == 'u') {
                char low[5] = {at[2], at[3], at[4], at[5], 0};
                code = 0x10000 + ((code - 0xD800) << 10) + (strtoul(low, NULL, 16) - 0xDC00);
                at += 6;
            }
            out = put_utf8(out, code);
        } else {
            break;
        }
    }
    if (text && (at >= end || *at != '"')) {
        free(text);
        return NULL;
    }
    if (text) *out = 0;
    return text;
}

/* What stands after `"key":` and blanks between `at` and `end`; NULL if it is not there. */
static const char* value_of(const char* at, const char* end, const char* key) {
    const size_t length = strlen(key);
    for (; end - at > (int64_t)length + 3; ++at) {
        if (*at != '"' || strncmp(at + 1, key, length) != 0 || at[length + 1] != '"') continue;
        const char* value = at + length + 2;
        while (value < end && (*value == ' ' || *value == ':')) ++value;
        return value;
    }
    return NULL;
}

static int refused(model_file* file, const char* path, const char* why) {
    fprintf(stderr, "%s: %s\n", path, why);
    model_file_close(file);
    return -1;
}

int model_file_open(model_file* file, const char* path) {
    memset(file, 0, sizeof *file);
    FILE* stream = fopen(path, "rb");
    if (!stream) return refused(file, path, "cannot be opened");
    fseek(stream, 0, SEEK_END);
    file->size = ftell(stream);
    rewind(stream);
    if (file->size > 8) file->bytes = malloc((size_t)file->size + 1);
    const int whole =
        file->bytes && fread(file->bytes, 1, (size_t)file->size, stream) == (size_t)file->size;
    fclose(stream);
    if (!whole) return refused(file, path, "cannot be read");
    file->bytes[file->size] = 0; /* an end for searches */
    uint64_t length = 0;
    for (int k = 7; k >= 0; --k) length = length << 8 | (unsigned char)file->bytes[k];
    if (length > (uint64_t)file->size - 8 || length % 8)
        return refused(file, path, "is not a safetensors file");
    file->header = file->bytes + 8;
    file->header_end = file->header + length;
    const char* text = value_of(file->header, file->header_end, "tidegate");
    if (text && *text == '"') file->description = unescaped(text + 1, file->header_end);
    if (!file->description) return refused(file, path, "is not a tidegate model file");
    return 0;
}

void model_file_close(model_file* file) {
    free(file->bytes);
    free(file->description);
    memset(file, 0, sizeof *file);
}

const float* model_file_tensor(const model_file* file, const char* name, int64_t* rows,
                               int64_t* columns) {
    char key[128];
    snprintf(key, sizeof key, "network.%s", name);
    const char* entry = value_of(file->header, file->header_end, key);
    if (!entry) return NULL;
    const char* end = memchr(entry, '}', (size_t)(file->header_end - entry));
    const char* type = end ? value_of(entry, end, "dtype") : NULL;
    const char* shape = end ? value_of(entry, end, "shape") : NULL;
    const char* offsets = end ? value_of(entry, end, "data_offsets") : NULL;
    int64_t first, last;
    *columns = 0;
    if (!type || strncmp(type, "\"F32\"", 5) != 0 || !shape || !offsets) return NULL;
    if (sscanf(shape, "[%" SCNd64 ",%" SCNd64 "]", rows, columns) < 1) return NULL;
    if (sscanf(offsets, "[%" SCNd64 ",%" SCNd64 "]", &first, &last) != 2) return NULL;
    const int64_t room = file->size - (file->header_end - file->bytes);
    const int64_t across = *columns ? *columns : 1;
    if (first < 0 || last > room || first % 4 || *rows < 1 || across < 1) return NULL;
    if (*rows > room / 4 / across || last - first != 4 * *rows * across) return NULL;
    return (const float*)(const void*)(file->header_end + first);
}

int model_file_has(const model_file* file, const char* name) {
    return value_of(file->header, file->header_end, name) != NULL;
}

char* model_file_text(const model_file* file, const char* key) {
    const char* end = file->description + strlen(file->description);
    const char* value = value_of(file->description, end, key);
    return value && *value == '"' ? unescaped(value + 1, end) : NULL;
}
