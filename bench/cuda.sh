#!/bin/bash
# cuda.sh - all that can be said of the cuda plugin on a machine with a GPU, in one command.
#
#   bench/cuda.sh [FOLDER]     models of made-up weights are written to FOLDER (build/made-up; 40 GB) and kept
#
# First correctness: the tests of the kernels on the GPU, plain and under compute-sanitizer, every family case, the
# golden text of SmolLM2. Then speed: reading, copying and a product in the same minute, decoding and prompts of
# 135M, 1B, 7B and 8B shapes, a batch of 128. RZ_SHARED names the reference data (default ../shared).
set -u
cd "$(dirname "$0")/.." || exit 1
folder=${1:-build/made-up}
B=$PWD/build/release
failed=0
export RZ=$B/rz RZ_BUILD=$B RZ_FIXTURES=$PWD/build/fixtures RZ_SOURCE=$PWD RZ_CUDA_PLUGIN=$B/plugins/cuda.so RZ_CUDA=cuda
if [ -z "${RZ_SHARED+set}" ] && [ -d ../shared/data ]; then
    RZ_SHARED=$(cd ../shared && pwd)
fi
export RZ_SHARED=${RZ_SHARED:-}

step() {
    echo
    echo "== $1"
    shift
    "$@" || { failed=$((failed + 1)); echo "FAILED: $*"; }
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || { echo "no GPU here"; exit 1; }
make -j"$(nproc)" tests > build/cuda-bench.log 2>&1 || { tail build/cuda-bench.log; exit 1; }
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
mkdir -p "$folder" build/bench
"$nvcc" -O3 -arch=native bench/cuda_peak.cu -lcublasLt -o build/bench/cuda_peak || exit 1

# --- correctness ---
for t in test_cuda test_cuda_seq; do
    step "kernels: $t" "$B/tests/$t"
    for tool in memcheck racecheck synccheck initcheck; do
        step "compute-sanitizer $tool: $t" compute-sanitizer --tool $tool --target-processes all --error-exitcode 9 \
            "$B/tests/$t"
    done
done
step "families" env PYTHONPATH=tests python3 -m unittest -v test_cuda.Host.test_families test_cuda.Host.test_encoders
step "golden text of SmolLM2" env PYTHONPATH=tests python3 -m unittest -v test_cuda.Golden

# --- speed ---
for shape in 135m-q4_1 1b-bf16 7b-q4_k_m 8b-bf16; do
    [ -e "$folder/$shape.gguf" ] || bench/made_up.py $shape "$folder/$shape.gguf"
    step "peaks before $shape" build/bench/cuda_peak
    step "$shape, one stream and prompts" "$RZ" --plugin cuda bench -m "$folder/$shape.gguf" -r 5
done
step "8b-bf16, 128 streams" "$RZ" --plugin cuda bench -m "$folder/8b-bf16.gguf" -b 128 -r 3
step "peaks at the end" build/bench/cuda_peak
echo
[ $failed -eq 0 ] && echo "all steps passed" || echo "$failed steps failed"
exit $((failed > 0))
