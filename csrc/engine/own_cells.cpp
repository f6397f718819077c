#include "own_cells.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace tidegate {
namespace {

std::mutex guard;

// By set and name. Never freed: threads may compute with what it names while the process ends.
std::map<std::pair<std::string, std::string>, const CellKernels*>& loaded() {
    static auto* cells = new std::map<std::pair<std::string, std::string>, const CellKernels*>;
    return *cells;
}

using Cells = const CellKernels* (*)();

#if defined(_WIN32)
Cells open_cell(const std::string& path) {
    throw std::runtime_error(path + ": own cells are compiled on Linux and macOS alone");
}
#else
Cells open_cell(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const found = library ? dlsym(library, "tidegate_cell") : nullptr;
    if (found) return reinterpret_cast<Cells>(found);
    const char* problem = dlerror();
    throw std::runtime_error(problem ? problem : path + ": not a library of a cell");
}
#endif

}  // namespace

const char* own_cell_headers() { return TIDEGATE_HEADERS; }

// TIDEGATE_KERNEL_FLAGS: "|avx2 -mavx2 -mfma|avx512 ...|".
std::string own_cell_flags(const std::string& isa) {
    const std::string all = TIDEGATE_KERNEL_FLAGS;
    const auto found = all.find("|" + isa + " ");
    if (found == std::string::npos) return "";
    const auto first = found + isa.size() + 2;
    return all.substr(first, all.find('|', first) - first);
}

std::string load_cell(const std::string& path, const std::string& isa) {
    const CellKernels* kernels = open_cell(path)();
    const std::lock_guard<std::mutex> held(guard);
    loaded()[{isa, kernels->cell->name}] = kernels;
    return kernels->cell->name;
}

const CellKernels* find_cell(const Kernels& kernels, const std::string& name) {
    for (int i = 0; i < kernels.cell_count; ++i)
        if (name == kernels.cells[i].cell->name) return &kernels.cells[i];
    const std::lock_guard<std::mutex> held(guard);
    const auto found = loaded().find({kernels.isa, name});
    return found == loaded().end() ? nullptr : found->second;
}

}  // namespace tidegate
