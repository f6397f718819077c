// What this processor can do, and the system lets it.
#pragma once

namespace tidegate {

#if defined(__x86_64__) || defined(_M_X64)
bool has_avx2();  // with the fused multiply-add
bool has_avx512();
bool has_avx512_bfloat16();
bool has_avx512_vnni();
// Of Linux asks for leave to use the tiles' registers, too.
bool has_amx_bfloat16();
#endif

bool is_intel();  // who made it

}  // namespace tidegate
