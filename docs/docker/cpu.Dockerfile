# x86-64 or ARM64 without a GPU: docker build -f docs/docker/cpu.Dockerfile -t pvlr .
# BASE: a Debian or Ubuntu with python and venv. HEADERS=python3-dev where its Python is the distribution's.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
ARG HEADERS=
RUN apt-get update && apt-get install -qy --no-install-recommends g++ ${HEADERS} && rm -rf /var/lib/apt/lists/*
# The image has no pip: another environment's installs for it.
RUN python -m venv /opt/tools && python -m venv --without-pip /opt/pvlr
ENV PATH=/opt/tools/bin:${PATH} PIP_NO_CACHE_DIR=1 PIP_PYTHON=/opt/pvlr/bin/python
ARG EXTRAS=serve
COPY . /src
# OpenCV without windows is half as large and needs no system libraries.
RUN pip install "/src[${EXTRAS}]" \
    && pip uninstall --yes opencv-python \
    && pip install --no-deps opencv-python-headless
# A container without Intel's drivers has no use for their plugins, and plans are read by two of the frontends.
RUN find /opt/pvlr/lib \( -path '*/openvino/include' -o -path '*/openvino/cmake' -o -name tests \) -prune -exec rm -rf {} + \
    && find /opt/pvlr/lib -path '*/openvino/libs/*' \( -name cache.json -o -name '*_intel_[gn]pu_plugin.so' \
         -o -name '*_frontend.so*' ! -name '*_ir_*' ! -name '*_onnx_*' \) -delete

FROM ${BASE}
COPY --from=build /opt/pvlr /opt/pvlr
ENV PATH=/opt/pvlr/bin:${PATH} HOME=/var/lib/pvlr XDG_CACHE_HOME=/var/cache/pvlr PYTHONDONTWRITEBYTECODE=1
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/pvlr /var/cache/pvlr
VOLUME ["/var/lib/pvlr", "/var/cache/pvlr"]
WORKDIR /var/lib/pvlr
USER 10001:10001
# Of pvlr serve; the first start compiles the plan.
HEALTHCHECK --interval=30s --start-period=300s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
ENTRYPOINT ["pvlr"]
CMD ["doctor"]
