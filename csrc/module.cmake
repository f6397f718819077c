# The Python module `_engine`, of the libraries in engine.cmake.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(
  COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT)
find_package(nanobind CONFIG REQUIRED)

# kernels in libraries of their own: nanobind compiles with -Os
nanobind_add_module(_engine NB_STATIC NOMINSIZE
  ${CMAKE_CURRENT_LIST_DIR}/python/bindings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/python/bind_layers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/python/bind_reading.cpp)
# its eleven files in one: reading Python's headers is most of their time
set_target_properties(nanobind-static PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
target_link_libraries(_engine PRIVATE kernels sweeps)
target_compile_options(_engine PRIVATE -Wall)
