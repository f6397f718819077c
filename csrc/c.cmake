# libtidegate, the engine for C, and the example that streams a saved model with it. Neither is part
# of the wheel; CI builds them beside the module, of the same objects.
add_library(tidegate_c SHARED ${CMAKE_CURRENT_LIST_DIR}/c/tidegate.cpp)
set_target_properties(tidegate_c PROPERTIES OUTPUT_NAME tidegate)
target_include_directories(tidegate_c PUBLIC ${CMAKE_CURRENT_LIST_DIR}/c)
target_compile_options(tidegate_c PRIVATE -Wall -Wextra)
target_link_libraries(tidegate_c PRIVATE kernels sweeps)

set(c_example ${CMAKE_CURRENT_LIST_DIR}/../examples/c)
add_executable(next_character ${c_example}/next_character.c ${c_example}/model_file.c)
set_target_properties(next_character PROPERTIES C_STANDARD 11 C_EXTENSIONS OFF)
target_compile_options(next_character PRIVATE -Wall -Wextra)
target_link_libraries(next_character PRIVATE tidegate_c m)
