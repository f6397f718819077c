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
  ${CMAKE_CURRENT_LIST_DIR}/engine/own_cells.cpp ${CMAKE_CURRENT_LIST_DIR}/engine/processor.cpp)
target_link_libraries(kernels PUBLIC ${CMAKE_DL_LIBS})
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

# A reader's own cell is compiled apart (src/tidegate/compiling), by gcc or clang, whichever made the
# engine: with these flags, of these headers, which must be the ones that the engine was compiled of.
set(own_cell_flags "|")
if(NOT WIN32)
  foreach(isa baseline avx2 avx512)
    if(isa IN_LIST engine_isas)
      list(JOIN ${isa}_flags " " flags)
      string(APPEND own_cell_flags "${isa} -ffp-contract=off -w ${flags}|")
    endif()
  endforeach()
endif()
set(own_cell_headers engine/cell.h engine/inline.h engine/kernels.h engine/sweeps.h)
file(GLOB simd_headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_LIST_DIR}
  ${CMAKE_CURRENT_LIST_DIR}/simd/*.h)
list(APPEND own_cell_headers ${simd_headers})
list(SORT own_cell_headers)
set(digests "")
foreach(header ${own_cell_headers})
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY
    CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/${header})
  file(SHA256 ${CMAKE_CURRENT_LIST_DIR}/${header} digest)
  string(APPEND digests "${header} ${digest}\n")
endforeach()
string(SHA256 digest_of_headers "${digests}")
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/engine/own_cells.cpp PROPERTIES
  COMPILE_DEFINITIONS
  "TIDEGATE_HEADERS=\"${digest_of_headers}\";TIDEGATE_KERNEL_FLAGS=\"${own_cell_flags}\"")

set(sweeps_sources engine/layer.cpp engine/memory.cpp engine/part.cpp engine/reading.cpp
  engine/schedule.cpp engine/shared_product.cpp engine/training.cpp threads/crowd.cpp
  threads/openmp.cpp threads/team.cpp threads/threads.cpp)
list(TRANSFORM sweeps_sources PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
add_library(sweeps STATIC ${sweeps_sources})
target_compile_options(sweeps PRIVATE ${warnings})
find_package(Threads REQUIRED)
target_link_libraries(sweeps PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
