# The TensorRT runner of libpvlr, compiled for the major version of the headers that are found, and with the CUDA
# kernels. Without them, libpvlr opens plans for the CPU only.
function(pvlr_leave_out_tensorrt reason)
  message(STATUS "libpvlr: without TensorRT, ${reason}")
  list(FILTER pvlr_runtime_sources EXCLUDE REGEX "/engine/tensorrt/")
  set(pvlr_runtime_sources "${pvlr_runtime_sources}" PARENT_SCOPE)
endfunction()

set(pvlr_backends "openvino")
if(NOT TARGET pvlr_cuda)
  pvlr_leave_out_tensorrt("which needs PVLR_CUDA=1")
  return()
endif()
include(csrc/tensorrt.cmake)
if(NOT PVLR_TENSORRT_INCLUDE)
  pvlr_leave_out_tensorrt("NvInferRuntime.h was not found; set TENSORRT_ROOT")
  return()
endif()
if(PVLR_TENSORRT_VERSION VERSION_LESS 10.3)
  pvlr_leave_out_tensorrt("${PVLR_TENSORRT_INCLUDE} has TensorRT ${PVLR_TENSORRT_VERSION}, and the runner needs 10.3 or later")
  return()
endif()

message(STATUS "libpvlr: with TensorRT ${PVLR_TENSORRT_VERSION}, headers in ${PVLR_TENSORRT_INCLUDE}")
list(FILTER pvlr_runtime_sources EXCLUDE REGEX "/no_tensorrt.cpp$")
list(APPEND pvlr_backends "tensorrt")
# Apart from the others, whose names they have: see UNITY_BUILD.
file(GLOB pvlr_tensorrt_sources csrc/runtime/engine/tensorrt/*.cpp)
set_source_files_properties(${pvlr_tensorrt_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
