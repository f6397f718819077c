// How functions are compiled that stand in headers of several instruction sets.
#pragma once

// Never as a function of its own, which the linker could take from another set's code.
#define TIDEGATE_INLINE inline __attribute__((always_inline))
// Once, however often it is called: for what takes long to compile.
#define TIDEGATE_NOINLINE __attribute__((noinline))
