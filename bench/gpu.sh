#!/usr/bin/env bash
# On a machine with a GPU: is everything right there, and how fast is it?   bench/gpu.sh [FOLDER] [WORD]
#
# Right first: all kernels and models under pytest, compiled and not interpreted, then half precision, CUDA graphs, compiled
# and 8-bit layers. Then every kernel's bench and whole models of the published sizes beside transformers, each within its
# own time limit, results under FOLDER (default bench/results). A part that fails or runs out of time is printed as FAILED
# and the rest goes on; the exit status tells. With WORD only parts whose name holds it. Under 20 minutes altogether.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-bench/results}")
only=${2:-}
python=${PYTHON:-python}
stamp=$(date -u +%Y-%m-%d)
failed=()
unset TRITON_INTERPRET HARKEN_BACKEND
export HF_HUB_OFFLINE=1
mkdir -p "$out"

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    [[ $name == *"$only"* ]] || return 0
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
part "the engine is right" 240 $python -P -m pytest -q tests/engine/test_cuda.py
part "bench logmel" 60 $python -P -m harken.bench.kernels.logmel --out "$file"
part "bench pool" 60 $python -P -m harken.bench.kernels.pool --out "$file"
part "bench topk" 150 $python -P -m harken.bench.kernels.topk --out "$file"
part "bench glue" 45 $python -P -m harken.bench.kernels.glue --out "$file"
encode=($python -P -m harken.bench.latency.encode --lengths 10 clotho --clips 16 --repeats 3)
part "encode 3B" 150 "${encode[@]}" --arch omni-3b --out "$out/${stamp}_encode_omni-3b_$card.json"
part "encode 3B float8, compiled" 150 "${encode[@]}" --arch omni-3b --float8 --compile \
    --out "$out/${stamp}_encode_omni-3b_float8_$card.json"
part "encode 7B" 150 "${encode[@]}" --arch omni-7b --out "$out/${stamp}_encode_omni-7b_$card.json"
part "encode qwen2-audio" 120 "${encode[@]}" --arch qwen2-audio --out "$out/${stamp}_encode_qwen2-audio_$card.json"

echo
part "table" 20 $python -P -m harken.bench.kernels.table "$file"
if ((${#failed[@]})); then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
