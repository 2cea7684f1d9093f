# x86-64 with an NVIDIA GPU and TensorRT. NOT RUN ON HARDWARE YET.
# docker build -f docs/docker/x86.Dockerfile --build-arg BASE=nvcr.io/nvidia/tensorrt:TAG -t pvlr .
# No default: use the newest tag of nvcr.io/nvidia/tensorrt in NVIDIA's catalogue whose TensorRT fits your driver.
ARG BASE
FROM ${BASE}

ENV DEBIAN_FRONTEND=noninteractive PATH=/opt/pvlr/bin:/usr/local/cuda/bin:${PATH}
RUN apt-get update && apt-get install -qy --no-install-recommends \
      g++ libgl1 libglib2.0-0t64 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
# The image has TensorRT's Python package in the system's Python.
# Without pycuda, the driver's library is used directly.
RUN python3 -m venv --system-site-packages /opt/pvlr && pip install --no-cache-dir -U pip && pip install --no-cache-dir pycuda

# The GPU's compute capability without the dot, as 89 (nvidia-smi --query-gpu=compute_cap --format=csv). A build has no GPU to
# ask; empty compiles for all, which takes several times as long.
ARG ARCHITECTURES=
COPY . /src
RUN CMAKE_ARGS="-DPVLR_CUDA=ON -DPVLR_CUDA_ARCHITECTURES=$ARCHITECTURES" pip install --no-cache-dir "/src[cameras,int8]" && rm -rf /src
RUN useradd --uid 10001 --create-home --groups video pvlr
USER 10001
ENTRYPOINT ["pvlr"]
CMD ["doctor"]
