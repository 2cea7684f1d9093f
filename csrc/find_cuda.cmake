# Finds nvcc, and decides on the CUDA kernels where PVLR_CUDA is empty: they are built where NVIDIA's driver and a complete
# toolkit are. A toolkit alone is not enough: a machine without a GPU would compile them for all GPUs, and use none.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  # JetPack does not add it to PATH.
  find_program(PVLR_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" PATHS /usr/local/cuda/bin)
  if(PVLR_NVCC)
    set(ENV{CUDACXX} "${PVLR_NVCC}")
  endif()
endif()
if(NOT PVLR_CUDA STREQUAL "")
  return()
endif()

set(PVLR_CUDA OFF)
set(pvlr_folder "/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}")
find_file(PVLR_CUDA_DRIVER libcuda.so.1
  PATHS "${pvlr_folder}" "${pvlr_folder}/nvidia" "${pvlr_folder}/tegra" /usr/lib64 /usr/lib /usr/lib/wsl/lib NO_DEFAULT_PATH)
if(PVLR_CUDA_DRIVER)
  include(CheckLanguage)
  check_language(CUDA)  # compiles a file: nvcc alone, without the rest of the toolkit, cannot
  find_package(CUDAToolkit QUIET)
  if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cudart_static)
    set(PVLR_CUDA ON)
  endif()
endif()
if(NOT PVLR_CUDA)
  message(STATUS "CUDA kernels: left out, as there is no NVIDIA driver or no complete CUDA toolkit; PVLR_CUDA=1 builds them")
endif()
