# Jetson Orin with JetPack 6 (L4T 36.4, TensorRT 10.3). NOT RUN ON HARDWARE YET.
# docker build -f docs/docker/jetpack6.Dockerfile -t pvlr .
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

ENV DEBIAN_FRONTEND=noninteractive PATH=/opt/pvlr/bin:/usr/local/cuda/bin:${PATH}
RUN apt-get update && apt-get install -qy --no-install-recommends \
      g++ libgl1 libglib2.0-0 python3-dev python3-libnvinfer python3-venv \
    && rm -rf /var/lib/apt/lists/*
# TensorRT's Python package comes with the system: no package index has it for Jetson.
# Without pycuda, the driver's library is used directly.
RUN python3 -m venv --system-site-packages /opt/pvlr && pip install --no-cache-dir -U pip && pip install --no-cache-dir pycuda

# 87 is every Orin. A build has no GPU to ask, and without this it compiles for all.
ARG ARCHITECTURES=87
COPY . /src
RUN CMAKE_ARGS="-DPVLR_CUDA=ON -DPVLR_CUDA_ARCHITECTURES=$ARCHITECTURES" pip install --no-cache-dir "/src[cameras,int8]" && rm -rf /src
RUN useradd --uid 10001 --create-home --groups video pvlr
USER 10001
ENTRYPOINT ["pvlr"]
CMD ["doctor"]
