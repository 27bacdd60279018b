#!/usr/bin/env bash
# On a machine with a GPU: is everything right there, and how fast is it?   bench/gpu.sh [FOLDER] [WORD]
#
# Right first: all kernels and models under pytest, compiled and not interpreted, then half precision, CUDA graphs, compiled
# and 8-bit layers. Then every kernel's bench, and whole models of the published sizes with random weights beside
# transformers. Results go to FOLDER (default bench/results), where `harken bench report` reads them; a short table of them
# is printed at the end. With WORD only parts whose name holds it.
#
# All of it together takes at most MINUTES=10. Each part has a time limit of its own: one that fails or passes its limit is
# printed as FAILED, one for which the minutes do not suffice as CUT, and the rest goes on; the exit status tells.
# TINY=1 takes toys in the place of the published sizes, DEVICE=cpu runs without a GPU: to try the script out.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-bench/results}")
only=${2:-}
python=${PYTHON:-python}
device=${DEVICE:-cuda}
end=$((SECONDS + 60 * ${MINUTES:-10}))
stamp=$(date -u +%Y-%m-%d)
failed=() cut=() made=()
unset TRITON_INTERPRET HARKEN_BACKEND
export HF_HUB_OFFLINE=1
mkdir -p "$out"

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS left=$((end - SECONDS)) status
    shift 2
    [[ $name == *"$only"* ]] || return 0
    if ((left < 10)); then
        cut+=("$name: not begun")
        return 0
    fi
    echo "== $name"
    timeout --kill-after=5 $((left < limit ? left : limit)) "$@"
    status=$?
    if ((status == 0)); then
        echo "-- $name: $((SECONDS - start)) s"
    elif ((status == 124 && left < limit)); then
        echo "-- $name: CUT after $left s"
        cut+=("$name: stopped after $left s of its $limit s")
    else
        echo "-- $name: FAILED (status $status) after $((SECONDS - start)) s"
        failed+=("$name")
    fi
}

bench() { # NAME SECONDS FILE COMMAND...: a part that leaves a file of results
    local name=$1 limit=$2 file=$3 before
    shift 3
    before=$(stat -c %y "$file" 2>/dev/null)
    part "$name" "$limit" $python -P -m "$@" --out "$file"
    [[ -s $file && $(stat -c %y "$file") != "$before" && " ${made[*]:-} " != *" $file "* ]] && made+=("$file")
}

if [[ $device == cuda ]] && ! $python -P -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA device is visible: correctness and speed on a GPU cannot be told here" >&2
    exit 2
fi
card=$($python -P -c 'import sys, torch; print(torch.cuda.get_device_name().replace(" ", "-") if sys.argv[1] == "cuda" else "cpu")' "$device")
$python -P -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__)'
echo "$card; until the minutes are over: $((end - SECONDS)) s"

part "kernels are right" 150 $python -P -m pytest -q -x tests/kernels --ignore tests/kernels/test_compile.py
part "models are right" 90 $python -P -m pytest -q tests/engine/models
part "the engine is right" 150 $python -P -m pytest -q tests/engine/test_cuda.py

# The C++ library: its CUDA part is built here where nvcc is, and its tests find the device themselves.
cpp_is_right() {
    local tree=build/gpu
    command -v nvcc >/dev/null || { echo "nvcc is not here: the CUDA part of the C++ library is not built"; return 1; }
    cmake -S csrc -B $tree -DHARKEN_CUDA=ON -DHARKEN_STATIC=OFF "-DPython_EXECUTABLE=$(command -v "$python")" >"$tree.log" 2>&1 &&
        cmake --build $tree --parallel "$(nproc)" >>"$tree.log" 2>&1 || { tail -n 40 "$tree.log"; return 1; }
    ctest --test-dir $tree --tests-regex cuda --output-on-failure --no-tests=error
}
export -f cpp_is_right
export python
[[ $device == cuda ]] && mkdir -p build && part "C++ on CUDA is right" 240 bash -c cpp_is_right

kernels=$out/${stamp}_kernels_$card.jsonl
# Lines are added to it, one bench after the other.
[[ -z $only || "bench logmel pool topk glue" == *"$only"* ]] && rm -f "$kernels"
bench "bench logmel" 40 "$kernels" harken.bench.kernels.logmel
bench "bench pool" 40 "$kernels" harken.bench.kernels.pool
bench "bench topk" 60 "$kernels" harken.bench.kernels.topk
bench "bench glue" 30 "$kernels" harken.bench.kernels.glue

tiny=${TINY:+--tiny}
scenarios=(harken.bench.latency.run --device "$device" --samples 8 --issues 16)
encode=(harken.bench.latency.encode --device "$device" --lengths 10 clotho --clips 16 --repeats 3)
for arch in omni-3b omni-7b midasheng; do
    bench "scenarios $arch" 90 "$out/${stamp}_scenarios_${arch}_$card.json" "${scenarios[@]}" --arch $arch $tiny \
        --what audio text --boundary samples --lengths 10s --scenario SingleStream Offline
    bench "encode $arch" 90 "$out/${stamp}_encode_${arch}_$card.json" "${encode[@]}" --arch $arch $tiny
done
bench "server omni-3b" 60 "$out/${stamp}_server_omni-3b_$card.json" "${scenarios[@]}" --arch omni-3b $tiny \
    --what audio --boundary file samples features --lengths clotho --scenario Server --system harken
bench "encode omni-3b float8, compiled" 120 "$out/${stamp}_encode_omni-3b_float8_$card.json" "${encode[@]}" \
    --arch omni-3b $tiny --float8 --compile
bench "encode qwen2-audio" 90 "$out/${stamp}_encode_qwen2-audio_$card.json" "${encode[@]}" --arch qwen2-audio $tiny
bench "train omni-7b" 150 "$out/${stamp}_train_omni-7b_$card.json" harken.bench.training.run --device "$device" \
    --arch omni-7b $tiny --batch 16 --steps 2 --rounds 2 --max-tokens 8192

echo
((${#made[@]})) && $python -P -m harken.bench.report "${made[@]}"
[[ $out == "$PWD/bench/results" ]] && echo "new results: write them into PERFORMANCE.md with  harken bench report"
((${#cut[@]})) && printf 'CUT, for want of minutes: %s\n' "${cut[@]}"
if ((${#failed[@]})); then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
