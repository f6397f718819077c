# The Python module `_engine`, of the libraries in engine.cmake.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module
  OPTIONAL_COMPONENTS Development.SABIModule)
execute_process(
  COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT)
find_package(nanobind CONFIG REQUIRED)

# A wheel's module is for every CPython from pyproject.toml's on: nanobind's other half, which no
# stable interface allows, comes from the package nanobind-backend. Elsewhere it is linked in.
if(SKBUILD_SABI_VERSION)
  set(nanobind BACKEND_MODULE nanobind_backend)
else()
  set(nanobind NB_STATIC)
endif()
# kernels in libraries of their own: nanobind compiles with -Os
nanobind_add_module(_engine ${nanobind} NOMINSIZE
  ${CMAKE_CURRENT_LIST_DIR}/python/bindings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/python/bind_layers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/python/bind_reading.cpp)
# its eleven files in one: reading Python's headers is most of their time
if(TARGET nanobind-static)
  set_target_properties(nanobind-static PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
endif()
target_link_libraries(_engine PRIVATE kernels sweeps)
target_compile_options(_engine PRIVATE ${warnings})
