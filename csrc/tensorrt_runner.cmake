# The TensorRT runner of libpvlr, compiled for the major version of the headers that are found, and with the CUDA
# kernels. Without them, libpvlr opens plans for the CPU only.
set(pvlr_backends "openvino")
include(csrc/tensorrt.cmake)
pvlr_check_tensorrt(10.3)
if(PVLR_LEFT_OUT)
  message(STATUS "libpvlr: without TensorRT: ${PVLR_LEFT_OUT}")
  list(FILTER pvlr_runtime_sources EXCLUDE REGEX "/engine/tensorrt/")
  return()
endif()

message(STATUS "libpvlr: with TensorRT ${PVLR_TENSORRT_VERSION}, headers in ${PVLR_TENSORRT_INCLUDE}")
list(FILTER pvlr_runtime_sources EXCLUDE REGEX "/no_tensorrt.cpp$")
list(APPEND pvlr_backends "tensorrt")
