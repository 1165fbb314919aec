#!/bin/bash
# run.sh - runs fuzz targets, each for a time, several at once.
#
#   B=build/fuzz tests/fuzz/run.sh SECONDS NAME...          (usually through `make fuzz`)
#
# A target begins with the seeds ($B/corpus/NAME, made here by seeds.py, which keep what earlier runs added)
# and with tests/fuzz/found/NAME. It fails on a sanitizer report, a broken promise, an input that takes
# longer than 10 s, a single allocation above 64 MB, or 1 GB in all. The input then lies in $B/crashes and
# belongs into tests/fuzz/found/NAME once it is fixed. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1

B=${B:-build/fuzz}
seconds=$1
shift
[ $# -gt 0 ] || { echo "fuzz: no target"; exit 1; }
mkdir -p "$B/crashes" "$B/logs" || exit 1
python3 tests/fuzz/seeds.py build/fixtures "$B/corpus" || exit 1

one() {
    local name=$1 log=$B/logs/$1.log found=()
    mkdir -p "$B/corpus/$name"
    [ -d "tests/fuzz/found/$name" ] && found=("tests/fuzz/found/$name")
    UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 "$B/fuzz_$name" "$B/corpus/$name" \
        "${found[@]}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
        -max_len=65536 -dict="$B/corpus/$name.dict" -artifact_prefix="$B/crashes/$name-" -print_final_stats=1 >"$log" 2>&1 </dev/null
    local status=$? runs
    runs=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$status" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
        printf 'ok   fuzz %-12s %10d runs in %d s\n' "$name" "$runs" "$seconds"
        return 0
    fi
    printf 'FAIL fuzz %-12s exit status %d; %s\n' "$name" "$status" "$log"
    grep -vE '^#[0-9]+|^INFO' "$log" | head -n 60 | sed 's/^/     | /'
    return 1
}

passed=0 failed=0 running=0
reap() {
    if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    running=$((running - 1))
}
for name in "$@"; do
    [ "$running" -lt "$(nproc)" ] || reap
    one "$name" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do reap; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
