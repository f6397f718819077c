// What a forked child must forget; Windows does not fork.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace tidegate {

// Has each child that this process forks from now on call `forget`. Returns whether it will.
inline bool in_forked_child(void (*forget)()) {
#if defined(_WIN32)
    (void)forget;
    return false;
#else
    return pthread_atfork(nullptr, nullptr, forget) == 0;
#endif
}

}  // namespace tidegate
