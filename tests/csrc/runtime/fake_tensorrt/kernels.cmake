# The library of the CUDA kernels, on the fakes in PVLR_FAKES.
add_library(pvlr_cuda STATIC "${CMAKE_CURRENT_LIST_DIR}/kernels.cpp")
set_target_properties(pvlr_cuda PROPERTIES CXX_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
target_include_directories(pvlr_cuda SYSTEM PUBLIC "${PVLR_FAKES}/cuda/include")
target_link_libraries(pvlr_cuda PUBLIC pvlr_host "${PVLR_FAKES}/lib/libcudart.so")
