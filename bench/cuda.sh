#!/bin/bash
# cuda.sh - all that can be said of the cuda plugin on a machine with a GPU, in one command.
#
#   bench/cuda.sh [-m FOLDER] [STAGE...]   stages: kernels sanitizer families golden speed; all of them if none is named
#   bench/cuda.sh pack FOLDER              all that those need, with libraries, for a GPU machine that cannot build;
#                                          there: FOLDER/bench/cuda.sh. CUDA_ARCHS=90 keeps it small.
#
# First correctness: the tests of the kernels on the GPU, plain and under compute-sanitizer, every family case, the
# golden text of SmolLM2 (RZ_MODEL, or in the user's cache). Then speed: bench/cuda_table.py. Models of made-up weights
# are written to the -m folder (build/made-up; 24 GB) and kept. RZ_SHARED names the reference data (default ../shared).
# RZ_CUDA=cuda-host RZ_CUDA_SHAPES=tiny tries the script out without a GPU, on the plugin of the tests.
set -u
cd "$(dirname "$0")/.." || exit 1
B=$PWD/build/release
models=build/made-up
[ "${1:-}" = -m ] && { models=$2; shift 2; }
export PATH=$PATH:/usr/local/cuda/bin
export RZ=$B/rz RZ_BUILD=$B RZ_FIXTURES=$PWD/build/fixtures RZ_SOURCE=$PWD RZ_CUDA=${RZ_CUDA:-cuda} PYTHONUNBUFFERED=1
for data in "${RZ_SHARED:-}" shared ../shared; do
    [ -d "$data/data/arch" ] && RZ_SHARED=$(readlink -f "$data") && break
done
export RZ_SHARED=${RZ_SHARED:-}
plugin=$B/plugins/cuda.so
[ "$RZ_CUDA" = cuda ] || plugin=$B/tests/$RZ_CUDA.so
export RZ_CUDA_PLUGIN=$plugin
failed=0 done_steps=()

step() {
    local what=$1 start=$SECONDS
    shift
    echo
    echo "== $what"
    if "$@"; then
        done_steps+=("ok      $((SECONDS - start)) s  $what")
    else
        failed=$((failed + 1))
        done_steps+=("FAILED  $((SECONDS - start)) s  $what")
        echo "FAILED: $*"
    fi
}

build() {
    mkdir -p build/bench
    [ -e build/packed ] && return
    make -j"$(nproc)" tests > build/cuda-bench.log 2>&1 || { tail build/cuda-bench.log; exit 1; }
    nvcc -O3 -arch="${1:-native}" bench/cuda_peak.cu -lcublasLt -o build/bench/cuda_peak || exit 1
}

# The libraries that programs and plugins load, but for those of the C library.
libraries() {
    ldd "$B/rz" "$B"/plugins/*.so "$B/tests/test_cuda" 2> /dev/null | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
        grep -v -E '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so'
}

pack() {
    local to=$1
    build "sm_${CUDA_ARCHS:-90}"
    mkdir -p "$to/build/release/tests" "$to/build/release/plugins" "$to/build/release/lib" "$to/build/bench" "$to/shared/data"
    cp -r bench "$to/"
    mkdir -p "$to/tests" && cp tests/*.py "$to/tests/"
    cp "$B/rz" "$to/build/release/"
    cp "$B"/plugins/*.so "$to/build/release/plugins/"
    cp "$B/tests/test_cuda" "$B/tests/test_cuda_seq" "$to/build/release/tests/"
    cp build/bench/cuda_peak "$to/build/bench/"
    [ -d build/fixtures ] && cp -r build/fixtures "$to/build/"
    libraries | xargs -r cp -t "$to/build/release/lib"
    strip "$to"/build/release/rz "$to"/build/release/plugins/*.so "$to"/build/release/tests/* "$to"/build/release/lib/*
    [ -n "$RZ_SHARED" ] && cp -r "$RZ_SHARED/data/arch" "$RZ_SHARED/data/golden" "$to/shared/data/"
    touch "$to/build/packed"
    du -sh "$to"
}

unit() {
    PYTHONPATH=tests python3 -m unittest -v "$@"
}

kernels() {
    for t in test_cuda test_cuda_seq; do
        step "kernels: $t" "$B/tests/$t"
    done
}

sanitizer() {
    command -v compute-sanitizer > /dev/null || { step "compute-sanitizer (not found)" false; return; }
    for tool in memcheck racecheck synccheck initcheck; do
        for t in test_cuda test_cuda_seq; do
            step "compute-sanitizer $tool: $t" compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 \
                "$B/tests/$t"
        done
    done
}

families() {
    step "families and encoders" unit test_cuda.Host.test_families test_cuda.Host.test_encoders
    step "graphs, and who else runs" unit test_cuda.Host.test_graphs test_cuda.Real
}

golden() {
    step "golden text of SmolLM2" unit test_cuda.Golden
}

speed() {
    local peak=()
    [ -e build/bench/cuda_peak ] && peak=(--peak build/bench/cuda_peak)
    mkdir -p "$models"
    step "speed" python3 bench/cuda_table.py --rz "$RZ" --plugin "$plugin" --models "$models" "${peak[@]}" \
        ${RZ_CUDA_SHAPES:+--only "$RZ_CUDA_SHAPES" --reps 1}
}

if [ "${1:-}" = pack ]; then
    pack "${2:?pack needs a folder}"
    exit
fi
for stage in "$@"; do
    case $stage in
    kernels | sanitizer | families | golden | speed) ;;
    *) echo "no stage $stage"; sed -n '4,6s/^# *//p' "$0"; exit 2 ;;
    esac
done
if [ "$RZ_CUDA" = cuda ]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || { echo "no GPU here"; exit 1; }
    build
fi
[ -d "$B/lib" ] && export LD_LIBRARY_PATH=$B/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ $# -eq 0 ] && set -- kernels sanitizer families golden speed
for stage in "$@"; do
    "$stage"
done
echo
printf '%s\n' "${done_steps[@]}"
[ $failed -eq 0 ] && echo "all steps passed" || echo "$failed steps failed"
exit $((failed > 0))
