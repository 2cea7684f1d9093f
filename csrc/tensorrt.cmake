# Finds TensorRT's headers: PVLR_TENSORRT_INCLUDE, and their version PVLR_TENSORRT_VERSION.
# JetPack and the system packages install them in the compilers' search path.
set(TENSORRT_ROOT "$ENV{TENSORRT_ROOT}" CACHE PATH "Folder with TensorRT's include/ and lib/, unless the system has them")
find_path(PVLR_TENSORRT_INCLUDE NvInferRuntime.h HINTS "${TENSORRT_ROOT}" PATH_SUFFIXES include)

set(PVLR_TENSORRT_VERSION "")
if(PVLR_TENSORRT_INCLUDE)
  # "#define NV_TENSORRT_MAJOR 10", or with an intermediate TRT_MAJOR_ENTERPRISE.
  file(STRINGS "${PVLR_TENSORRT_INCLUDE}/NvInferVersion.h" pvlr_tensorrt_lines REGEX "^#define (NV_TENSORRT|TRT)_[A-Z_]+ [0-9]+")
  set(pvlr_tensorrt_parts "")
  foreach(part MAJOR MINOR PATCH)
    string(REGEX MATCH "(NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE) ([0-9]+)" _ "${pvlr_tensorrt_lines}")
    list(APPEND pvlr_tensorrt_parts "${CMAKE_MATCH_2}")
  endforeach()
  list(JOIN pvlr_tensorrt_parts "." PVLR_TENSORRT_VERSION)
endif()
