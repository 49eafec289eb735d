#!/bin/sh
# Builds llama.cpp's llama-server, a peer of benchmarks/local_engine.py, into the benchmarks' cache.
#
#     benchmarks/build_llama_server.sh [JOBS]
#
# The source is the one inside the sdist of the llama-cpp-python that is installed, and the server is
# linked to that installation's own libllama and libggml: same version, same flags, same kernels.
# About 80 files are compiled: some 5 minutes on one core. PYTHON names another interpreter.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-$here/../.venv/bin/python}
JOBS=${1:-1}

version=$("$PYTHON" -c 'from importlib.metadata import version as v; print(v("llama-cpp-python"))')
libraries=$("$PYTHON" -c 'from importlib.util import find_spec; from pathlib import Path
print(Path(find_spec("llama_cpp").origin).parent / "lib")')
cache=$(cd "$here" && "$PYTHON" -c 'import _models; print(_models.cache_dir())')
work=$cache/llama-server-$version
server=$work/build/bin/llama-server
sdist=$work/llama_cpp_python-$version

command -v cmake >/dev/null || { echo "cmake is not on the PATH." >&2; exit 1; }
mkdir -p "$work"
if [ ! -d "$sdist" ]; then
    "$PYTHON" -m pip download -q --no-deps --no-binary llama-cpp-python \
        -d "$work" "llama-cpp-python==$version"
    tar -xzf "$sdist.tar.gz" -C "$work"
    rm "$sdist.tar.gz"
fi
nice -n 19 cmake -S "$here/llama_server" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
    -DLLAMA_CPP_SOURCE="$sdist/vendor/llama.cpp" -DLLAMA_CPP_LIBRARIES="$libraries"
nice -n 19 cmake --build "$work/build" --target llama-server -j "$JOBS"
"$server" --version
echo "$server"
