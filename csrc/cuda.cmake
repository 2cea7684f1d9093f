# The CUDA kernels as a static library, pvlr_cuda. One small file an instantiation, so that they compile in parallel.
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# The GPUs of this machine, which CMake from 3.24 on finds. Without any, all that the compiler knows of what we support.
if(NOT PVLR_CUDA_ARCHITECTURES)
  string(REPLACE "-real" "" pvlr_gpus "${CMAKE_CUDA_ARCHITECTURES_NATIVE}")
  foreach(gpu IN LISTS pvlr_gpus)
    if(gpu GREATER_EQUAL 75)
      list(APPEND PVLR_CUDA_ARCHITECTURES ${gpu})
    endif()
  endforeach()
endif()
if(NOT PVLR_CUDA_ARCHITECTURES)
  set(PVLR_CUDA_ARCHITECTURES 75 80 86 87 89 90)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND PVLR_CUDA_ARCHITECTURES 100)
  endif()
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
    list(APPEND PVLR_CUDA_ARCHITECTURES 110)
  endif()
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND PVLR_CUDA_ARCHITECTURES 120)
  endif()
endif()
set(PVLR_CUDA_ARCHITECTURES "${PVLR_CUDA_ARCHITECTURES}" CACHE STRING "Compute capabilities to compile for, as 75;80;...")
message(STATUS "CUDA kernels for compute capabilities ${PVLR_CUDA_ARCHITECTURES}; the last also as PTX, for later GPUs")
list(TRANSFORM PVLR_CUDA_ARCHITECTURES APPEND "-real" OUTPUT_VARIABLE pvlr_cuda_code)
list(GET PVLR_CUDA_ARCHITECTURES -1 pvlr_cuda_newest)
list(APPEND pvlr_cuda_code "${pvlr_cuda_newest}-virtual")

add_library(pvlr_cuda STATIC
  csrc/kernels/dual_softmax_attention.cu
  csrc/kernels/instances/dual_softmax_attention_bfloat16_32.cu
  csrc/kernels/instances/dual_softmax_attention_bfloat16_64.cu
  csrc/kernels/instances/dual_softmax_attention_bfloat16_96.cu
  csrc/kernels/instances/dual_softmax_attention_bfloat16_128.cu
  csrc/kernels/instances/dual_softmax_attention_float16_32.cu
  csrc/kernels/instances/dual_softmax_attention_float16_64.cu
  csrc/kernels/instances/dual_softmax_attention_float16_96.cu
  csrc/kernels/instances/dual_softmax_attention_float16_128.cu
  csrc/kernels/instances/dual_softmax_attention_float32_32.cu
  csrc/kernels/instances/dual_softmax_attention_float32_64.cu
  csrc/kernels/instances/dual_softmax_attention_float32_96.cu
  csrc/kernels/instances/dual_softmax_attention_float32_128.cu
  csrc/kernels/instances/preprocess_batch_bfloat16.cu
  csrc/kernels/instances/preprocess_batch_float16.cu
  csrc/kernels/instances/preprocess_batch_float32.cu
  csrc/kernels/instances/tag_head_bfloat16.cu
  csrc/kernels/instances/tag_head_float16.cu
  csrc/kernels/instances/tag_head_float32.cu
  csrc/kernels/preprocess_batch.cu
  csrc/kernels/tag_head.cu)
set_target_properties(pvlr_cuda PROPERTIES
  CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_ARCHITECTURES "${pvlr_cuda_code}")
target_include_directories(pvlr_cuda PRIVATE csrc PUBLIC csrc/include)
# pvlr_host has the checks of the arguments, which the launcher shares with the twin for the CPU.
target_link_libraries(pvlr_cuda PUBLIC pvlr_host CUDA::cudart_static)
target_compile_options(pvlr_cuda PRIVATE -Xcompiler=-Wall,-Wextra)
if(PVLR_WERROR)
  target_compile_options(pvlr_cuda PRIVATE --Werror=all-warnings -Xcompiler=-Werror)
endif()
