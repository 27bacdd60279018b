#!/usr/bin/env bash
# On a machine with a GPU: is everything right there, and how fast is it?   bench/gpu.sh [FOLDER]
#
# Right first: all kernels and models under pytest, compiled and not interpreted. Then every kernel's bench, each within its
# own time limit, one JSON line a result under FOLDER (default bench/results). A part that fails or runs out of time is
# printed as FAILED and the rest goes on; the exit status tells. Under 10 minutes altogether.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-bench/results}")
python=${PYTHON:-python}
stamp=$(date -u +%Y-%m-%d)
failed=()
unset TRITON_INTERPRET HARKEN_BACKEND
export HF_HUB_OFFLINE=1
mkdir -p "$out"

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    echo "== $name"
    if timeout --kill-after=5 "$limit" "$@"; then
        echo "-- $name: $((SECONDS - start)) s"
    else
        echo "-- $name: FAILED (status $?) after $((SECONDS - start)) s"
        failed+=("$name")
    fi
}

if ! $python -P -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA device is visible: correctness and speed on a GPU cannot be told here" >&2
    exit 2
fi
card=$($python -P -c 'import torch; print(torch.cuda.get_device_name().replace(" ", "-"))')
file=$out/${stamp}_kernels_$card.jsonl
rm -f "$file"
$python -P -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__, torch.cuda.get_device_name())'

part "kernels are right" 150 $python -P -m pytest -q -x tests/kernels --ignore tests/kernels/test_compile.py
part "models are right" 90 $python -P -m pytest -q tests/engine/models
part "bench logmel" 60 $python -P -m harken.bench.kernels.logmel --out "$file"
part "bench pool" 60 $python -P -m harken.bench.kernels.pool --out "$file"
part "bench topk" 150 $python -P -m harken.bench.kernels.topk --out "$file"
part "bench glue" 45 $python -P -m harken.bench.kernels.glue --out "$file"

echo
part "table" 20 $python -P -m harken.bench.kernels.table "$file"
if ((${#failed[@]})); then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
