/* Streams a text through a language model of characters, and goes on writing.

     next_character MODEL [LENGTH] < TEXT

   MODEL is a file of `tidegate train language-model TEXT --level char`, a network without counts.
   It prints the bits that the model needs for each character of the text, then LENGTH characters,
   each the likeliest one. Neither Python nor any other library is needed but libtidegate. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_file.h"
#include "tidegate.h"

enum { MOST_LAYERS = 64, MOST_PARAMETERS = 16, MOST_STATES = 8 };

typedef struct {
    model_file file;
    char* characters; /* UTF-8: the k-th is token k + 1 */
    int64_t vocabulary, features;
    const float *embedding, *weight, *bias; /* weight: of the dense layer [vocabulary, features] */
    int64_t embedded;
    int layers;
    tidegate_layer* layer[MOST_LAYERS];
    float* states[MOST_LAYERS][MOST_STATES];
    float* logits;
} network;

static int fail(const char* why) {
    fprintf(stderr, "next_character: %s\n", why);
    return -1;
}

/* Bytes of the character that begins at `text`. */
static int bytes_of(const char* text) {
    const unsigned char first = (unsigned char)*text;
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Layer k of `cell`; its inputs are what the layer below gives. Returns its outputs, or -1. */
static int64_t add_layer(network* net, const char* cell, int64_t inputs) {
    const int k = net->layers;
    char name[96];
    int64_t rows, columns;
    snprintf(name, sizeof name, "recurrent.%d.weight_ih_l0_reverse", k);
    if (model_file_tensor(&net->file, name, &rows, &columns))
        return fail("a stream has no end, from which a bidirectional model would read");
    tidegate_sizes sizes = {inputs, 1, 0};
    tidegate_parameter parameter;
    const float* weights[MOST_PARAMETERS] = {0};
    snprintf(name, sizeof name, "recurrent.%d.weight_hr_l0", k);
    if (model_file_tensor(&net->file, name, &rows, &columns)) sizes.projected = rows;
    int count = tidegate_parameter_of(cell, &sizes, 0, &parameter);
    if (count < 0 || count > MOST_PARAMETERS) return fail(tidegate_problem());
    for (int i = 0; i < count; ++i) {
        tidegate_parameter_of(cell, &sizes, i, &parameter); /* with H = 1: blocks of rows */
        snprintf(name, sizeof name, "recurrent.%d.%s_l0", k, parameter.name);
        weights[i] = model_file_tensor(&net->file, name, &rows, &columns);
        if (i == 0 && weights[i]) sizes.hidden = rows / parameter.rows;
    }
    for (int i = 0; i < count; ++i) { /* the shapes, now that H is known */
        tidegate_parameter_of(cell, &sizes, i, &parameter);
        snprintf(name, sizeof name, "recurrent.%d.%s_l0", k, parameter.name);
        if (model_file_tensor(&net->file, name, &rows, &columns) &&
            (rows != parameter.rows || columns != parameter.columns))
            return fail("the model file's shapes do not fit each other");
    }
    net->layer[k] = tidegate_layer_new(cell, &sizes, weights);
    if (!net->layer[k]) return fail(tidegate_problem());
    for (int s = 0; s < tidegate_layer_states(net->layer[k]); ++s)
        net->states[k][s] = calloc((size_t)tidegate_layer_width(net->layer[k], s), sizeof(float));
    ++net->layers;
    return tidegate_layer_width(net->layer[k], 0);
}

static int open_network(network* net, const char* path) {
    int64_t rows, columns;
    if (model_file_open(&net->file, path) < 0) return -1;
    net->characters = model_file_text(&net->file, "characters");
    char* cell = model_file_text(&net->file, "cell");
    net->embedding = model_file_tensor(&net->file, "embedding.weight", &rows, &net->embedded);
    net->bias = model_file_tensor(&net->file, "dense.bias", &net->vocabulary, &columns);
    if (!net->characters || !cell)
        return free(cell), fail("expected a language model of characters (--level char)");
    if (model_file_has(&net->file, "counts.shares"))
        return free(cell), fail("counts are not mixed in here: train the model with --no-counts");
    if (!net->embedding) /* float32 alone is read here */
        return free(cell), fail("expected weights of float32: tidegate convert --weights float32");
    if (!net->bias || rows != net->vocabulary)
        return free(cell), fail("the model file's shapes do not fit each other");
    int64_t tokens = 1; /* the first is for characters that the model has never seen */
    for (const char* c = net->characters; *c; ++c) tokens += (*c & 0xC0) != 0x80;
    if (tokens != net->vocabulary)
        return free(cell), fail("the model file's characters do not fit its network");
    char name[64];
    for (int64_t width = net->embedded; net->layers < MOST_LAYERS; net->features = width) {
        snprintf(name, sizeof name, "recurrent.%d.weight_ih_l0", net->layers);
        if (!model_file_tensor(&net->file, name, &rows, &columns)) break;
        width = add_layer(net, cell, width);
        if (width < 0) return free(cell), -1;
    }
    free(cell);
    net->weight = model_file_tensor(&net->file, "dense.weight", &rows, &columns);
    if (!net->weight) net->weight = net->embedding, columns = net->embedded; /* they are tied */
    snprintf(name, sizeof name, "norms.0.weight");
    if (model_file_tensor(&net->file, name, &rows, &rows))
        return fail("batch norm is not read here");
    if (columns != net->features) return fail("the model file's shapes do not fit each other");
    net->logits = malloc((size_t)net->vocabulary * sizeof(float));
    return 0;
}

static void close_network(network* net) {
    for (int k = 0; k < net->layers; ++k) {
        for (int s = 0; s < MOST_STATES; ++s) free(net->states[k][s]);
        tidegate_layer_free(net->layer[k]);
    }
    free(net->characters);
    free(net->logits);
    model_file_close(&net->file);
}

/* One more character; `logits` then say what may come next. */
static int feed(network* net, int64_t token) {
    const float* x = net->embedding + token * net->embedded;
    for (int k = 0; k < net->layers; ++k) {
        if (tidegate_layer_step(net->layer[k], x, 1, net->states[k]) < 0)
            return fail(tidegate_problem());
        x = net->states[k][0];
    }
    for (int64_t v = 0; v < net->vocabulary; ++v) {
        float sum = net->bias[v];
        for (int64_t f = 0; f < net->features; ++f)
            sum += net->weight[v * net->features + f] * x[f];
        net->logits[v] = sum;
    }
    return 0;
}

static double bits_of(const network* net, int64_t token) {
    double highest = net->logits[0], sum = 0;
    for (int64_t v = 1; v < net->vocabulary; ++v) highest = fmax(highest, net->logits[v]);
    for (int64_t v = 0; v < net->vocabulary; ++v) sum += exp(net->logits[v] - highest);
    return (highest + log(sum) - net->logits[token]) / log(2);
}

static int64_t likeliest(const network* net) {
    int64_t best = 0;
    for (int64_t v = 1; v < net->vocabulary; ++v)
        if (net->logits[v] > net->logits[best]) best = v;
    return best;
}

/* The token of the character at `text`; 0 stands for all that the model has never seen. */
static int64_t token_of(const network* net, const char* text) {
    int64_t token = 1;
    for (const char* c = net->characters; *c; c += bytes_of(c), ++token)
        if (bytes_of(c) == bytes_of(text) && strncmp(c, text, (size_t)bytes_of(c)) == 0)
            return token;
    return 0;
}

static void print_character(const network* net, int64_t token) {
    const char* c = net->characters;
    if (token == 0) c = "\xEF\xBF\xBD"; /* the replacement character */
    while (--token > 0) c += bytes_of(c);
    fwrite(c, 1, (size_t)bytes_of(c), stdout);
}

static int run(network* net, int length) {
    char character[5] = {0};
    double bits = 0;
    long scored = 0, fed = 0;
    for (int c = getchar(); c != EOF; c = getchar()) {
        character[0] = (char)c;
        const int bytes = bytes_of(character);
        for (int k = 1; k < bytes; ++k) character[k] = (char)getchar();
        const int64_t token = token_of(net, character);
        if (fed > 0) bits += bits_of(net, token), ++scored;
        if (feed(net, token) < 0) return 1;
        ++fed;
    }
    if (fed == 0) return fail("expected a text on standard input"), 1;
    fprintf(stderr, "%.4f bits per character\n", scored ? bits / (double)scored : 0.0);
    for (; length > 0; --length) {
        const int64_t token = likeliest(net);
        print_character(net, token);
        if (feed(net, token) < 0) return 1;
    }
    putchar('\n');
    return 0;
}

int main(int count, char** arguments) {
    char* end = "";
    const long length = count > 2 ? strtol(arguments[2], &end, 10) : 200;
    if (count < 2 || count > 3 || *end || length < 0 || length > INT_MAX)
        return fail("expected MODEL [LENGTH] < TEXT"), 2;
    network net = {0};
    int status = 1;
    if (open_network(&net, arguments[1]) == 0) status = run(&net, (int)length);
    close_network(&net);
    return status;
}
