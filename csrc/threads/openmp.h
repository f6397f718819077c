// The OpenMP runtime that torch brought: its threads are the engine's, too.
#pragma once

namespace tidegate {

// Uses the pool of an OpenMP runtime this process has loaded already, torch's: two pools would take
// the cores from each other, since an OpenMP thread spins for a while when its work is done.
// Returns whether the library at `path` is loaded and has GOMP_parallel.
bool adopt_openmp(const char* path);

// Calls task(context) in each of `threads` threads, the caller's among them; false, and nothing
// done, if no runtime was adopted.
bool on_openmp(int threads, void (*task)(void* context), void* context);

// For as long as the machine is crowded, the runtime's threads sleep when they wait, torch's
// regions included. `threads`: that the process keeps busy.
void let_openmp_sleep(int threads);

// From construction to destruction denormals count as zero in the caller and, of an adopted OpenMP
// pool, in the threads of a team of `threads`: for torch's own products between our sweeps.
class FlushedTeam {
  public:
    explicit FlushedTeam(int threads);
    ~FlushedTeam();
    FlushedTeam(const FlushedTeam&) = delete;
    FlushedTeam& operator=(const FlushedTeam&) = delete;

  private:
    int threads_;
};

}  // namespace tidegate
