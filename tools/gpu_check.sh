#!/bin/sh
# Checks and measures everything that needs a GPU, in at most eight minutes, on a machine that may have no network:
#
#     tools/gpu_check.sh [--wheels DIR] [--python PYTHON] [options of benchmarks/gpu_check.py: --out FILE, --small ...]
#
# Needs Python 3.12 or later with torch, numpy and scipy. Wheels of what is missing (yacs, faiss-cpu, pytest,
# hypothesis) are taken from DIR, or from the folder wheels/ beside this checkout or in it, into a temporary folder;
# without them the searches are those of torch and the tests are left out. To fill the folder, where there is a network:
#
#     python -m pip download --no-deps --dest wheels --only-binary :all: --python-version 3.12 \
#         yacs faiss-cpu pytest pluggy iniconfig packaging pygments hypothesis sortedcontainers attrs
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python3}
wheels=
while [ $# -gt 0 ]; do
    case $1 in
        --wheels|--python)
            [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
            [ "$1" = --wheels ] && wheels=$2 || python=$2
            shift 2 ;;
        -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) break ;;
    esac
done
if [ -n "$wheels" ] && [ ! -d "$wheels" ]; then
    echo "there is no folder $wheels" >&2
    exit 2
fi
for place in "$root/wheels" "$root/../wheels"; do
    [ -n "$wheels" ] || { [ -d "$place" ] && wheels=$place; } || true
done
"$python" -c 'import torch' 2>/dev/null || { echo "$python has no torch" >&2; exit 1; }
if [ -n "$wheels" ]; then
    extra=$(mktemp -d)
    trap 'rm -rf "$extra"' EXIT
    for wheel in "$wheels"/*.whl; do
        # One by one: a wheel that does not fit this Python costs itself and nothing else.
        "$python" -m pip install --quiet --no-index --no-deps --target "$extra" "$wheel" 2>/dev/null ||
            echo "left out: $(basename "$wheel")" >&2
    done
    export PYTHONPATH="$root:$extra${PYTHONPATH:+:$PYTHONPATH}"
fi
"$python" "$root/benchmarks/gpu_check.py" "$@"
