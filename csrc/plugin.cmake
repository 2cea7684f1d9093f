# The TensorRT plugins as a library, libpvlr_plugins.so. Needs TensorRT's headers but not its libraries: TensorRT loads
# the plugins and finds the exported functions by name.
include(csrc/tensorrt.cmake)
pvlr_check_tensorrt(10.0)
if(PVLR_LEFT_OUT)
  message(STATUS "TensorRT plugins: left out: ${PVLR_LEFT_OUT}")
  return()
endif()
message(STATUS "TensorRT plugins: built with the headers of ${PVLR_TENSORRT_VERSION} in ${PVLR_TENSORRT_INCLUDE}")

file(GLOB pvlr_plugin_sources CONFIGURE_DEPENDS csrc/plugin/*.cpp)
add_library(pvlr_plugins SHARED ${pvlr_plugin_sources})
target_include_directories(pvlr_plugins PRIVATE csrc)
target_include_directories(pvlr_plugins SYSTEM PRIVATE "${PVLR_TENSORRT_INCLUDE}" ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(pvlr_plugins PRIVATE pvlr_cuda ${CMAKE_DL_LIBS})
# Exports only what tensorrt_library.cpp marks: other libraries in the process may have their own CUDA runtime.
target_link_options(pvlr_plugins PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL)
set_target_properties(pvlr_plugins PROPERTIES VISIBILITY_INLINES_HIDDEN ON)
list(JOIN PVLR_CUDA_ARCHITECTURES " " pvlr_plugins_architectures)
set_source_files_properties(csrc/plugin/tensorrt_library.cpp PROPERTIES COMPILE_DEFINITIONS
  "PVLR_TENSORRT_VERSION=\"${PVLR_TENSORRT_VERSION}\";PVLR_CUDA_VERSION=\"${CMAKE_CUDA_COMPILER_VERSION}\";PVLR_ARCHITECTURES=\"${pvlr_plugins_architectures}\"")
