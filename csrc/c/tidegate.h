/* The engine of tidegate for C: recurrent layers of a trained network, for inference.

   Link with libtidegate; nothing of Python is needed. Arrays are float, dense, row after row, and
   the caller's. Letters: T steps, B rows of a batch, I inputs, H hidden units, P projected units, W
   the width of a state, which is P where a cell projects that state and else H. Gates stand in the
   order in which docs/cells.md lists them, which is torch.nn's.

   A function that fails returns NULL or a number below zero, changes nothing, and
   tidegate_problem() then says in one line which argument was wrong and what was expected. */
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdint.h>

#if defined(_WIN32)
#define TIDEGATE_API
#else
#define TIDEGATE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Why the calling thread's last call that failed did fail. */
TIDEGATE_API const char* tidegate_problem(void);

/* The set of instructions that is in use: "avx512", "avx2", "baseline". */
TIDEGATE_API const char* tidegate_instructions(void);

/* The name of the k-th cell, such as "gru"; NULL beyond the last. */
TIDEGATE_API const char* tidegate_cell(int k);

typedef struct {
    int64_t inputs, hidden;
    int64_t projected; /* P, of a cell that projects; else 0 */
} tidegate_sizes;

/* One parameter of a cell. `name` is as in model files, without layer and direction: "weight_ih".
   `columns` is 0 for a row of numbers. Biases may be left out, all of them. */
typedef struct {
    const char* name;
    int64_t rows, columns;
    int is_bias;
} tidegate_parameter;

/* Fills in the cell's k-th parameter for these sizes. Returns how many parameters the cell has. */
TIDEGATE_API int tidegate_parameter_of(const char* cell, const tidegate_sizes* sizes, int k,
                                       tidegate_parameter* parameter);

/* One recurrent layer in one direction. */
typedef struct tidegate_layer tidegate_layer;

/* A layer of weights that are copied: one array for each parameter, in the order of
   tidegate_parameter_of, NULL for biases that the layer lacks. Free it with tidegate_layer_free. */
TIDEGATE_API tidegate_layer* tidegate_layer_new(const char* cell, const tidegate_sizes* sizes,
                                                const float* const* weights);
TIDEGATE_API void tidegate_layer_free(tidegate_layer* layer); /* NULL is nothing to free */

/* How many states the cell has, and the width of each. The first is the layer's output. */
TIDEGATE_API int tidegate_layer_states(const tidegate_layer* layer);
TIDEGATE_API int64_t tidegate_layer_width(const tidegate_layer* layer, int state);

/* One step of B streams. x: [B, I]. states: an array [B, W] for each state, zeros at the start of a
   stream; each is replaced in its place, and none may share memory with another. One thread at a
   time may step a layer. No memory is allocated while B does not grow. Returns 0. */
TIDEGATE_API int tidegate_layer_step(tidegate_layer* layer, const float* x, int64_t B,
                                     float* const* states);

/* Whole sequences. x: [T, B, I]. lengths: [B], each in 0 .. T, or NULL for T each. reverse: from
   the last true step to the first. threads: at least 1. initial: an array [B, W] for each state, or
   NULL for zeros. final: the same, out. y: [T, B, W] of the first state, zero from each row's
   length on. Several threads may call it at a time. Returns 0. */
TIDEGATE_API int tidegate_layer_forward(const tidegate_layer* layer, const float* x, int64_t T,
                                        int64_t B, const int64_t* lengths, int reverse, int threads,
                                        const float* const* initial, float* const* final, float* y);

#ifdef __cplusplus
}
#endif
#endif
