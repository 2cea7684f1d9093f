#!/usr/bin/env bash
# The steps of a wheel with libpvlr. cibuildwheel, which pyproject.toml configures, calls the first two in its containers;
# the third takes all steps on Debian, for this machine or for AArch64 with a cross compiler.
#
#   csrc/wheel.sh needs FOLDER [MACHINE]   what libpvlr is built from: OpenVINO, and in a container nlohmann/json and packages
#   csrc/wheel.sh repair WHEEL FOLDER      the wheel with the libraries that it needs; OpenVINO's is in the package openvino
#   csrc/wheel.sh build MACHINE FOLDER     a wheel for $PYTHON; MACHINE is x86_64 or aarch64
#   csrc/wheel.sh root WHEEL FOLDER        an AArch64 system with Python and a wheel in FOLDER/site, for qemu-aarch64 -L
#
# PYTHON is python3; for AArch64 it must have the version of Debian's python3: PYTHON=/usr/bin/python3. auditwheel and patchelf
# must be in PATH.
set -euo pipefail
checkout="$(cd "$(dirname "$0")/.." && pwd)"
: "${PYTHON:=python3}"

json=3.11.3
json_sha256=d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d

needs() {
  local folder="$1" machine="${2:-$(uname -m)}"
  # The library is the same in the packages for all versions of Python. Those for AArch64 need a newer glibc than a container
  # has, so they are unpacked, not installed.
  fetch download "$machine" 3.12 --no-deps --require-hashes -r "$checkout/csrc/wheel.txt" -d "$folder/download"
  python3 -m zipfile -e "$folder"/download/openvino-*.whl "$folder"
  if command -v dnf >/dev/null; then # a container of manylinux
    dnf install -qy openssl-devel libpng-devel
    curl -fsSL -o "$folder/json.tar.xz" "https://github.com/nlohmann/json/releases/download/v$json/json.tar.xz"
    echo "$json_sha256  $folder/json.tar.xz" | sha256sum --check --quiet
    tar -xf "$folder/json.tar.xz" -C "$folder"
    cmake -S "$folder/json" -B "$folder/json/build" -DJSON_BuildTests=OFF -DCMAKE_INSTALL_PREFIX="$folder"
    cmake --install "$folder/json/build"
  fi
}

# fetch COMMAND MACHINE PYTHON...: pip, for a machine with any glibc.
fetch() {
  local command="$1" machine="$2" version="$3" platforms=()
  shift 3
  for minor in $(seq 17 50); do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
  python3 -m pip "$command" -q --only-binary :all: --python-version "$version" "${platforms[@]}" "$@"
}

repair() {
  # In place of now: the time of the wheel, which has that of its sources.
  SOURCE_DATE_EPOCH="$(python3 -c 'import calendar, sys, zipfile
print(max(calendar.timegm(entry.date_time) for entry in zipfile.ZipFile(sys.argv[1]).infolist()))' "$1")"
  export SOURCE_DATE_EPOCH
  umask 022
  auditwheel repair --exclude "libopenvino.so.*" -w "$2" "$1"
}

build() {
  local machine="$1" folder="$2" version
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  version="$(version)"
  needs "$work" "$machine"
  CMAKE_ARGS="-DOpenVINO_DIR=$work/openvino/cmake ${CMAKE_ARGS:-}"
  fetch install "$(uname -m)" "$version" --target "$work/tools" "setuptools>=77" "pybind11>=2.12" "cmake>=3.18" ninja
  mkdir "$work/source"
  cp -r "$checkout"/{CMakeLists.txt,LICENSE,README.md,pyproject.toml,setup.py,csrc,pvlr_sdk,training} "$work/source"
  (
    cd "$work/source"
    export CMAKE_ARGS PVLR_RUNTIME=1 PVLR_CUDA=0 PYTHONPATH="$work/tools" PATH="$work/tools/bin:$PATH"
    if [[ "$machine" != "$(uname -m)" ]]; then cross "$machine" "$version"; fi
    "$PYTHON" -c "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])" "$work/wheel"
  )
  # auditwheel takes libraries from the folders that the loader would search here.
  LD_LIBRARY_PATH="$work/root/usr/lib/$machine-linux-gnu" repair "$work"/wheel/*.whl "$folder"
}

version() {
  "$PYTHON" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")'
}

# Makes the build of setup.py one for another machine: with Debian's packages for it, unpacked, and its cross compiler.
cross() {
  local machine="$1" version="$2" root="$work/root" data="_sysconfigdata__$1-linux-gnu"
  unpack "$root" libpython3-dev libssl-dev libpng-dev nlohmann-json3-dev
  cp "$root/usr/lib/python$version/$data.py" "$work/tools"
  export _PYTHON_HOST_PLATFORM="linux-$machine" _PYTHON_SYSCONFIGDATA_NAME="$data"
  CMAKE_ARGS+=" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$machine -DCMAKE_CXX_COMPILER=$machine-linux-gnu-g++"
  CMAKE_ARGS+=" -DCMAKE_FIND_ROOT_PATH=$root -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY"
  CMAKE_ARGS+=" -DPython_INCLUDE_DIR=$root/usr/include/python$version"
  export CPLUS_INCLUDE_PATH="$root/usr/include:$root/usr/include/$machine-linux-gnu"
}

root() {
  local wheel="$1" folder="$2"
  unpack "$folder" python3 libgl1 libglib2.0-0t64
  fetch install aarch64 "$(version)" --target "$folder/site" "$wheel"
}

# Unpacks Debian packages for AArch64 and what they depend on into a folder. The system is not changed.
unpack() {
  local folder="$1" apt=(-q -y -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Install-Recommends=false)
  shift
  mkdir -p "$folder"/apt/{lists,archives}/partial "$folder/usr/lib"
  ln -s usr/lib "$folder/lib"
  : >"$folder/apt/status"
  apt+=(-o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  apt-get "${apt[@]}" install --download-only "$@"
  for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm -r "$folder/apt"
}

"$@"
