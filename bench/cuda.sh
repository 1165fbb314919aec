#!/bin/bash
# cuda.sh - all that can be said of the cuda plugin on a machine with a GPU, in one command or in pieces.
#
#   bench/cuda.sh [-m FOLDER] [STAGE...]   stages: kernels sanitizer families golden speed; all of them if none is named
#   bench/cuda.sh list                     the pieces of the stages, one a line: each takes less than ten minutes
#   bench/cuda.sh pack FOLDER              all that those need, with libraries, for a GPU machine that cannot build;
#                                          there: FOLDER/bench/cuda.sh. CUDA_ARCHS=90 keeps it small.
#
# A piece is STAGE:PART, such as sanitizer:memcheck, families:2/4, speed:8b-bf16. RZ_CUDA_LIMIT: seconds that a step of
# it may take (570); what takes longer has failed, and so has what skips its tests.
#
# First correctness: the tests of the kernels on the GPU, plain and under compute-sanitizer, every family case, the
# golden text of SmolLM2 (RZ_MODEL, or in the user's cache). Then speed: bench/cuda_table.py. Models of made-up weights
# are written to the -m folder (build/made-up; 24 GB) and kept. RZ_SHARED names the reference data (default ../shared).
# RZ_CUDA=cuda-host RZ_CUDA_SHAPES=tiny tries the script out without a GPU, on the plugin of the tests.
set -u
cd "$(dirname "$0")/.." || exit 1
B=$PWD/build/release
models=build/made-up
[ "${1:-}" = -m ] && { models=${2:?-m needs a folder}; shift 2; }
PATH=$PATH:/usr/local/cuda/bin:/usr/local/nvidia/bin
export PATH RZ=$B/rz RZ_BUILD=$B RZ_FIXTURES=$PWD/build/fixtures RZ_SOURCE=$PWD RZ_CUDA=${RZ_CUDA:-cuda}
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RZ_SLOW=${RZ_SLOW:-1}
for data in "${RZ_SHARED:-}" shared ../shared; do
    [ -d "$data/data/arch" ] && RZ_SHARED=$(readlink -f "$data") && break
done
export RZ_SHARED=${RZ_SHARED:-}
[ -z "${RZ_MODEL:-}" ] && [ -e build/golden.gguf ] && export RZ_MODEL=$PWD/build/golden.gguf
limit=${RZ_CUDA_LIMIT:-570}
plugin=$B/plugins/cuda.so
[ "$RZ_CUDA" = cuda ] || plugin=$B/tests/$RZ_CUDA.so
export RZ_CUDA_PLUGIN=$plugin
shapes=135m-q4_1,1b-bf16,7b-q4_k_m,8b-bf16
tools="memcheck racecheck synccheck initcheck"
family_parts=4
failed=0 done_steps=()

pieces() {
    local i
    printf '%s\n' kernels
    for i in $tools; do printf 'sanitizer:%s\n' "$i"; done
    for i in $(seq $family_parts); do printf 'families:%s/%s\n' "$i" $family_parts; done
    printf '%s\n' families:graphs golden
    for i in ${shapes//,/ }; do printf 'speed:%s\n' "$i"; done
}

# A command, within the limit.
step() {
    local what=$1 start=$SECONDS status=0
    shift
    echo
    echo "== $what"
    timeout -k 10 "$limit" "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        done_steps+=("ok      $((SECONDS - start)) s  $what")
        return
    fi
    failed=$((failed + 1))
    done_steps+=("FAILED  $((SECONDS - start)) s  $what")
    [ "$status" -eq 124 ] && echo "took longer than $limit s (RZ_CUDA_LIMIT)"
    echo "FAILED ($status): $*"
}

build() {
    mkdir -p build/bench
    [ -e build/packed ] && return
    make -j"$(nproc)" tests > build/cuda-bench.log 2>&1 || { tail build/cuda-bench.log; exit 1; }
    command -v nvcc > /dev/null || { echo "no nvcc: nothing is measured beside the figures"; return; }
    nvcc -O3 -arch="${1:-native}" bench/cuda_peak.cu -ldl -o build/bench/cuda_peak ||
        nvcc -O3 bench/cuda_peak.cu -ldl -o build/bench/cuda_peak || exit 1
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
    [ -e build/bench/cuda_peak ] && cp build/bench/cuda_peak "$to/build/bench/"
    [ -d build/fixtures ] && cp -r build/fixtures "$to/build/"
    [ -e "${RZ_MODEL:-}" ] && cp "$RZ_MODEL" "$to/build/golden.gguf"
    libraries | xargs -r cp -t "$to/build/release/lib"
    strip "$to"/build/release/rz "$to"/build/release/plugins/*.so "$to"/build/release/tests/test_cuda* "$to"/build/release/lib/*
    [ -n "$RZ_SHARED" ] && cp -r "$RZ_SHARED/data/arch" "$RZ_SHARED/data/golden" "$to/shared/data/"
    [ -e "$to/build/golden.gguf" ] || echo "without the golden text's model: RZ_MODEL names none"
    [ -n "$RZ_SHARED" ] || echo "without reference data: RZ_SHARED names none"
    touch "$to/build/packed"
    du -sh "$to"
}

# Fails, too, where a test is skipped: nothing is shown by it.
unit() {
    # shellcheck disable=SC2016
    PYTHONPATH=tests step "$1" bash -c 'set -o pipefail
        python3 -m unittest -v "$@" 2>&1 | { skipped=0
            while IFS= read -r line; do
                printf "%s\n" "$line"
                case $line in *skipped*) skipped=1 ;; esac
            done
            [ $skipped -eq 0 ] || { echo "tests were skipped"; exit 1; }; }' unit "${@:2}"
}

kernels() {
    for t in test_cuda test_cuda_seq; do
        step "kernels: $t" "$B/tests/$t"
    done
}

sanitizer() {
    command -v compute-sanitizer > /dev/null || { step "compute-sanitizer (not found)" false; return; }
    for tool in ${1:-$tools}; do
        for t in test_cuda test_cuda_seq; do
            step "compute-sanitizer $tool: $t" compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 \
                "$B/tests/$t"
        done
    done
}

families() {
    local part
    for part in ${1:-$(seq -f "%g/$family_parts" "$family_parts") graphs}; do
        if [ "$part" = graphs ]; then
            unit "graphs, encoders, sessions, and who else runs" test_cuda.Host.test_graphs test_cuda.Host.test_encoders \
                test_cuda.Real test_device_session.Sessions.test_cuda
        else
            RZ_CUDA_PART=$part unit "families, part $part" test_cuda.Host.test_families
        fi
    done
}

golden() {
    unit "golden text of SmolLM2" test_cuda.Golden
}

speed() {
    local peak=() shape all=${1:-${RZ_CUDA_SHAPES:-$shapes}}
    [ -e build/bench/cuda_peak ] && peak=(--peak build/bench/cuda_peak)
    mkdir -p "$models"
    for shape in ${all//,/ }; do
        step "speed: $shape" python3 bench/cuda_table.py --rz "$RZ" --plugin "$plugin" --models "$models" "${peak[@]}" \
            --only "$shape" --reps "${RZ_CUDA_REPS:-5}"
    done
}

# The GPU's name where the driver's tool is there; whether one can be used says the plugin itself.
find_gpu() {
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null ||
        echo "(no nvidia-smi)"
    build
    "$RZ" --plugin "$plugin" plan "$RZ_FIXTURES/tiny-llama.gguf" --explain > /dev/null || { echo "no GPU here"; exit 1; }
}

case ${1:-} in
pack)
    pack "${2:?pack needs a folder}"
    exit
    ;;
list)
    pieces
    exit
    ;;
esac
for stage in "$@"; do
    case ${stage%%:*} in
    kernels | sanitizer | families | golden | speed) ;;
    *) echo "no stage $stage"; sed -n '4,7s/^# *//p' "$0"; exit 2 ;;
    esac
done
[ -d "$B/lib" ] && export LD_LIBRARY_PATH=$B/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ "$RZ_CUDA" = cuda ] && find_gpu
[ $# -eq 0 ] && set -- kernels sanitizer families golden speed
for stage in "$@"; do
    part=${stage#"${stage%%:*}"}
    part=${part#:}
    case ${stage%%:*} in
    kernels) kernels ;;
    sanitizer) sanitizer "$part" ;;
    families) families "$part" ;;
    golden) golden ;;
    speed) speed "$part" ;;
    esac
done
echo
printf '%s\n' "${done_steps[@]}"
[ $failed -eq 0 ] && echo "all steps passed" || echo "$failed steps failed"
exit $((failed > 0))
