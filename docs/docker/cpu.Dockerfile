# x86-64 or ARM64 without a GPU. NOT BUILT YET.
# docker build -f docs/docker/cpu.Dockerfile -t pvlr .
FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install -qy --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python -m venv /opt/pvlr && /opt/pvlr/bin/pip install --no-cache-dir "/src[serve]"

FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -qy --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pvlr /opt/pvlr
ENV PATH=/opt/pvlr/bin:${PATH}
USER 10001:10001
ENTRYPOINT ["pvlr"]
CMD ["doctor"]
