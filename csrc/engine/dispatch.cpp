// Which instruction set's kernels run.
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels.h"
#include "processor.h"
#define TIDEGATE_ISA dispatch  // only the constants of math.h are used here
#include "simd/math.h"

namespace tidegate {

#define TIDEGATE_DECLARE(isa)   \
    namespace isa {             \
    extern const Kernels table; \
    }
TIDEGATE_DECLARE(baseline)
#if defined(TIDEGATE_X86)
TIDEGATE_DECLARE(avx2)
TIDEGATE_DECLARE(avx512)
#endif
#if defined(TIDEGATE_BFLOAT16)
TIDEGATE_DECLARE(avx512bf16)
#endif
#if defined(TIDEGATE_AMX)
TIDEGATE_DECLARE(amx)
#endif
#if defined(TIDEGATE_X86)
TIDEGATE_DECLARE(avx512vnni)
#endif

const ErrorBounds kErrorBounds{dispatch::kExpMaxUlp,     dispatch::kTanhMaxUlp,
                               dispatch::kSigmoidMaxUlp, dispatch::kLogMaxUlp,
                               dispatch::kRsqrtMaxUlp,   dispatch::kErfMaxUlp};

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> found{&baseline::table};
#if defined(TIDEGATE_X86)
    if (has_avx2()) found.push_back(&avx2::table);
    if (has_avx512()) found.push_back(&avx512::table);
#endif
    return found;
}

namespace {

const Kernels* find_kernels(const std::string& name) {
    std::string names;
    for (const Kernels* each : available_kernels()) {
        if (name == each->isa) return each;
        names += std::string(names.empty() ? "" : ", ") + each->isa;
    }
    throw std::invalid_argument("TIDEGATE_ISA: expected one of " + names +
                                " (what this machine can run), got '" + name +
                                "'; unset it to use the best");
}

std::atomic<const Kernels*>& in_use() {
    static std::atomic<const Kernels*> current{[] {
        const char* wanted = std::getenv("TIDEGATE_ISA");
        return wanted && *wanted ? find_kernels(wanted) : available_kernels().back();
    }()};
    return current;
}

}  // namespace

#if defined(TIDEGATE_BFLOAT16)
std::vector<const Kernels*> available_rounding_kernels() {
    std::vector<const Kernels*> found;
    if (!has_avx512_bfloat16()) return found;
    found.push_back(&avx512bf16::table);
#if defined(TIDEGATE_AMX)
    if (has_amx_bfloat16()) found.push_back(&amx::table);
#endif
    return found;
}

const Kernels* rounding_kernels() {
    static const std::vector<const Kernels*> found = available_rounding_kernels();
    return found.empty() || &kernels() != &avx512::table ? nullptr : found.back();
}
#else
std::vector<const Kernels*> available_rounding_kernels() { return {}; }

const Kernels* rounding_kernels() { return nullptr; }
#endif

const Kernels* inference_kernels(Factors factors) {
#if defined(TIDEGATE_X86)
    if (factors == Factors::kInt8) {
        static const bool has = has_avx512_vnni();
        return has && &kernels() == &avx512::table ? &avx512vnni::table : nullptr;
    }
#endif
    return factors == Factors::kBfloat16 ? rounding_kernels() : nullptr;
}

const Kernels& kernels() { return *in_use().load(std::memory_order_relaxed); }

void select_isa(const char* name) { in_use().store(find_kernels(name)); }

}  // namespace tidegate
