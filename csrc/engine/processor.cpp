// The processor is asked itself: gcc's __builtin_cpu_supports is in a library of the compiler's,
// which linkers of Windows do not find.
#include "processor.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tidegate {
namespace {

struct Leaf {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

// Zeros where the processor has no such leaf.
Leaf leaf(unsigned number, unsigned part = 0) {
    Leaf found;
    __get_cpuid_count(number, part, &found.a, &found.b, &found.c, &found.d);
    return found;
}

template <class... Places>
constexpr unsigned bits(Places... places) {
    return (0u | ... | (1u << places));
}

constexpr bool has(unsigned word, unsigned wanted) { return (word & wanted) == wanted; }

// Whether the system saves these registers when it gives the processor to another thread.
bool saves(unsigned wanted) {
    if (!has(leaf(1).c, bits(27))) return false;  // osxsave
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return has(low, wanted);
}

}  // namespace

bool has_avx2() {
    return has(leaf(1).c, bits(12, 28)) && has(leaf(7).b, bits(5)) && saves(bits(1, 2));
}

bool has_avx512() {
#if defined(__APPLE__)
    const bool saved = true;  // from a thread's first use on, which xgetbv does not foretell
#else
    const bool saved = saves(bits(1, 2, 5, 6, 7));
#endif
    return has_avx2() && has(leaf(7).b, bits(16, 17, 30, 31)) && saved;  // f, dq, bw, vl
}

bool has_avx512_bfloat16() { return has_avx512() && has(leaf(7, 1).a, bits(5)); }

bool has_avx512_vnni() { return has_avx512() && has(leaf(7).c, bits(11)); }

bool has_amx_bfloat16() {
#if defined(__linux__)
    if (!has(leaf(7).d, bits(22, 24))) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // Linux 5.16: asm/prctl.h
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

bool is_intel() {
    const Leaf maker = leaf(0);  // GenuineIntel
    return maker.b == 0x756e6547 && maker.d == 0x49656e69 && maker.c == 0x6c65746e;
}

}  // namespace tidegate
#else
namespace tidegate {

bool is_intel() { return false; }

}  // namespace tidegate
#endif
