"""CUDA kernels and TensorRT: static analysis without a GPU, checks and timings on one."""
