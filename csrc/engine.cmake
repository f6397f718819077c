# The engine without Python: the libraries `kernels` and `sweeps`, for the module and for csrc/tests.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include_directories(${CMAKE_CURRENT_LIST_DIR})
if(CMAKE_CXX_COMPILER_ID STREQUAL MSVC)
  message(FATAL_ERROR "expected gcc, clang or, on Windows, clang-cl, got MSVC, which lacks their vectors: -D CMAKE_CXX_COMPILER=clang-cl")
endif()
# clang-cl takes -m and -W as they stand
if(CMAKE_CXX_COMPILER_FRONTEND_VARIANT STREQUAL MSVC)
  set(warnings /W3 -Wextra)
  set(no_contraction /clang:-ffp-contract=off)
else()
  set(warnings -Wall -Wextra)
  set(no_contraction -ffp-contract=off)
endif()
set(engine_isas baseline)
# the compiler tells: on macOS it may compile for the other processor
check_cxx_source_compiles("#ifndef __x86_64__\n#error\n#endif\nint main() { return 0; }" targets_x86_64)
if(targets_x86_64)
  list(APPEND engine_isas avx2 avx512)
  check_cxx_compiler_flag(-mavx512bf16 compiles_avx512bf16)
  if(compiles_avx512bf16)
    list(APPEND engine_isas avx512bf16)
  endif()
  check_cxx_compiler_flag("-mamx-tile -mamx-bf16 -mavx512bf16" compiles_amx)
  if(compiles_amx AND CMAKE_SYSTEM_NAME STREQUAL Linux)
    list(APPEND engine_isas amx)
  endif()
endif()
set(avx2_flags -mavx2 -mfma)
set(avx512_flags -mavx512f -mavx512vl -mavx512dq -mavx512bw ${avx2_flags})
set(avx512bf16_flags -mavx512bf16 ${avx512_flags})
set(amx_flags -mamx-tile -mamx-bf16 ${avx512bf16_flags})

set(avx512vnni_flags -mavx512vnni ${avx512_flags})

# simd/table.cpp is compiled once per instruction set, in a namespace of its own, so that the linker
# can never merge code of one set into another.
set(kernel_options ${warnings} ${no_contraction} -Wno-uninitialized)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND kernel_options -Wno-maybe-uninitialized)
endif()
add_library(kernels STATIC ${CMAKE_CURRENT_LIST_DIR}/engine/dispatch.cpp
  ${CMAKE_CURRENT_LIST_DIR}/engine/processor.cpp)
foreach(isa ${engine_isas})
  add_library(kernels_${isa} OBJECT ${CMAKE_CURRENT_LIST_DIR}/simd/table.cpp)
  target_compile_definitions(kernels_${isa} PRIVATE TIDEGATE_ISA=${isa})
  target_compile_options(kernels_${isa} PRIVATE ${kernel_options} ${${isa}_flags})
  target_sources(kernels PRIVATE $<TARGET_OBJECTS:kernels_${isa}>)
endforeach()

# for inference alone: products of 8-bit factors
if(avx512 IN_LIST engine_isas)
  add_library(kernels_avx512vnni OBJECT ${CMAKE_CURRENT_LIST_DIR}/simd/inference_table.cpp)
  target_compile_definitions(kernels_avx512vnni PRIVATE TIDEGATE_ISA=avx512vnni)
  target_compile_options(kernels_avx512vnni PRIVATE ${kernel_options} ${avx512vnni_flags})
  target_sources(kernels PRIVATE $<TARGET_OBJECTS:kernels_avx512vnni>)
endif()

if(avx512bf16 IN_LIST engine_isas)
  target_compile_definitions(kernels PRIVATE TIDEGATE_BFLOAT16)
endif()
if(amx IN_LIST engine_isas)
  target_compile_definitions(kernels PRIVATE TIDEGATE_AMX)
endif()

set(sweeps_sources engine/layer.cpp engine/memory.cpp engine/part.cpp engine/reading.cpp
  engine/schedule.cpp engine/shared_product.cpp engine/training.cpp threads/crowd.cpp
  threads/openmp.cpp threads/team.cpp threads/threads.cpp)
list(TRANSFORM sweeps_sources PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
add_library(sweeps STATIC ${sweeps_sources})
target_compile_options(sweeps PRIVATE ${warnings})
find_package(Threads REQUIRED)
target_link_libraries(sweeps PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
