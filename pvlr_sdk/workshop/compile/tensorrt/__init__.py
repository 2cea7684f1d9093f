"""Building plans for NVIDIA's TensorRT; running them is :mod:`pvlr_sdk.backends.tensorrt`'s job."""
