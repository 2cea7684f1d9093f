# The TensorRT plugins as a library, libpvlr_plugins.so. Needs TensorRT's headers but not its libraries: TensorRT loads
# the plugins and finds the exported functions by name.
function(pvlr_leave_out_plugins reason)
  message(STATUS "TensorRT plugins: left out, ${reason}")
endfunction()

if(NOT PVLR_CUDA)
  pvlr_leave_out_plugins("they need PVLR_CUDA=1")
  return()
endif()

include(csrc/tensorrt.cmake)
if(NOT PVLR_TENSORRT_INCLUDE)
  pvlr_leave_out_plugins("NvInferRuntime.h was not found; set TENSORRT_ROOT")
  return()
endif()

if(PVLR_TENSORRT_VERSION VERSION_LESS 10.0)
  pvlr_leave_out_plugins("${PVLR_TENSORRT_INCLUDE} has TensorRT ${PVLR_TENSORRT_VERSION}, and they need 10.0 or later")
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
