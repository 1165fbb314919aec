#!/bin/bash
# run.sh - runs every test of one built configuration and counts.
#
#   B=build/release CONFIG=release tests/run.sh [NAME...]     (usually through `make test`)
#
# First the unit programs ($B/tests/test_*), then the process tests (tests/test_*.py, each told by RZ where
# the program is). One line a program, and what those say that fail; in the end a line "failed: ..." for each
# test that failed, and "N passed, N failed".
# Sanitizers write their reports to files; any file fails its program, whatever its exit status says. That
# this works is shown each time by the canaries: programs with one deliberate fault each.
#
# What tests find in the environment: RZ (the program), RZ_BUILD, RZ_FIXTURES, RZ_SOURCE (folders),
# RZ_CONFIG (the configuration), RZ_SLOW (0: leave out what takes minutes), RZ_SHARED (reference data or
# empty). The user's own configuration is kept out.
set -u
cd "$(dirname "$0")/.." || exit 1

CONFIG=${CONFIG:-release}
B=${B:-build/$CONFIG}
LIMIT_S=${RZ_TEST_SECONDS:-900}

logs=$PWD/$B/logs
rm -rf "$logs" && mkdir -p "$logs/san" "$logs/config" "$logs/tmp"

for name in $(compgen -e | grep '^RZ__'); do unset "$name"; done
export XDG_CONFIG_HOME=$logs/config TMPDIR=$logs/tmp
export RZ=$PWD/$B/rz RZ_BUILD=$PWD/$B RZ_FIXTURES=$PWD/build/fixtures RZ_SOURCE=$PWD RZ_CONFIG=$CONFIG
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
if [ -z "${RZ_SHARED+set}" ]; then
    RZ_SHARED=
    [ -d ../shared/data ] && RZ_SHARED=$(cd ../shared && pwd)
fi
export RZ_SHARED
case $CONFIG in
release) : "${RZ_SLOW:=1}" ;;
*) : "${RZ_SLOW:=0}" ;;
esac
export RZ_SLOW
# Kernels of OpenCL devices are compiled once for all tests and configurations.
export POCL_CACHE_DIR=$PWD/build/pocl-cache RZ_OPENCL_CACHE=$PWD/build/opencl-cache

passed=0 failed=0 skipped=0
FAILED_LINES=30 # "failed: ..." at most

# Sanitizer reports of the program called $1 go to files that begin with its name.
sanitizers() {
    local to="log_path=$logs/san/$1"
    export ASAN_OPTIONS="$to:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
    export UBSAN_OPTIONS="$to:print_stacktrace=1"
    export TSAN_OPTIONS="$to:second_deadlock_stack=1"
    export LSAN_OPTIONS="$to:suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
}

reports() {
    compgen -G "$logs/san/$1.*" | wc -l
}

# What a program said of its failures: unittest's list of tests, which comes before, is of no use.
said() {
    if grep -qaE '^(FAIL|ERROR): ' "$1"; then sed -n '/^=====/,$p' "$1"; else cat "$1"; fi
}

# Adds one program's counts ($2 $3 $4) and prints its line; on failure its output and reports.
account() {
    local name=$1 good=$2 bad=$3 skip=$4 seconds=$5
    local n
    n=$(reports "$name")
    if [ "$n" -gt 0 ]; then
        bad=$((bad + n))
        echo "     $name: $n sanitizer report(s)" >>"$logs/$name.log"
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
    local word=ok
    [ "$bad" -eq 0 ] || word=FAIL
    printf '%-4s %-28s %3d passed, %d failed, %d skipped  (%d s)\n' "$word" "$name" "$good" "$bad" "$skip" "$seconds"
    if [ "$bad" -ne 0 ]; then
        python3 tests/failures.py "$logs/$name.log" $(compgen -G "$logs/san/$name.*") |
            sed "s/^/failed: $name: /" >>"$logs/failed"
        said "$logs/$name.log" | sed 's/^/     | /' | tail -n 200
        for report in $(compgen -G "$logs/san/$name.*"); do
            sed 's/^/     ! /' "$report" | head -n 60
        done
    else
        sed -nE "s/^skipped: /     skipped: /p; s/^(.*) \.\.\. skipped (.*)/     skipped: \1: \2/p" "$logs/$name.log" |
            sort -u | head -n 12
    fi
}

# A unit program: counted from its TAP file.
run_unit() {
    local name=$1 start=$SECONDS status good bad skip
    local tap=$logs/$name.tap
    sanitizers "$name"
    timeout -k 10 "$LIMIT_S" "$B/tests/$name" --tap="$tap" >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    touch "$tap"
    skip=$(grep -ciE '^ok .*# *skip' "$tap")
    sed -nE 's/^ok - ([^ ]+).*# *SKIP *(.*)/skipped: \1: \2/p' "$tap" >>"$logs/$name.log"
    good=$(($(grep -c '^ok ' "$tap") - skip))
    bad=$(grep -c '^not ok ' "$tap")
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        echo "$name: exit status $status (124: longer than $LIMIT_S s)" >>"$logs/$name.log"
    elif [ $((good + bad + skip)) -eq 0 ]; then
        bad=1
        echo "$name: ran no test" >>"$logs/$name.log"
    fi
    account "$name" "$good" "$bad" "$skip" $((SECONDS - start))
}

# Sets good, bad, skip from a log: unittest's closing lines, or a line "N passed, N failed[, N skipped]".
count_log() {
    local ran line
    good=0 bad=0 skip=0
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -n 1)
    ran=$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$1" | tail -n 1)
    if [ -n "$line" ]; then
        good=$(sed -E 's/^([0-9]+) passed.*/\1/' <<<"$line")
        bad=$(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"$line")
        skip=$(sed -nE 's/.* ([0-9]+) skipped.*/\1/p' <<<"$line")
    elif [ -n "$ran" ]; then
        line=$(grep -E '^(OK|FAILED)( \(|$)' "$1" | tail -n 1)
        skip=$(sed -nE 's/.*skipped=([0-9]+).*/\1/p' <<<"$line")
        local failures errors
        failures=$(sed -nE 's/.*failures=([0-9]+).*/\1/p' <<<"$line")
        errors=$(sed -nE 's/.*errors=([0-9]+).*/\1/p' <<<"$line")
        bad=$((${failures:-0} + ${errors:-0}))
        # A class that is skipped as a whole counts as one skip and as no test that ran.
        good=$((ran - bad - ${skip:-0} + $(grep -c '^setUpClass .* skipped ' "$1")))
    fi
    skip=${skip:-0}
}

run_process() {
    local file=$1 start=$SECONDS status good bad skip
    local name
    name=$(basename "$file")
    sanitizers "$name"
    timeout -k 10 "$LIMIT_S" python3 "$file" -v >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    count_log "$logs/$name.log"
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        echo "$name: exit status $status (124: longer than $LIMIT_S s)" >>"$logs/$name.log"
    elif [ $((good + bad + skip)) -eq 0 ]; then
        bad=1
        echo "$name: ran no test" >>"$logs/$name.log"
    fi
    account "$name" "$good" "$bad" "$skip" $((SECONDS - start))
}

# The canary of this configuration must leave a report; else no other result means anything.
run_canary() {
    local name=$1
    [ -x "$B/tests/$name" ] || { echo "failed: $name: not built" | tee -a "$logs/failed"; failed=$((failed + 1)); return; }
    sanitizers "$name"
    timeout 60 "$B/tests/$name" >"$logs/$name.log" 2>&1 </dev/null
    if [ "$(reports "$name")" -gt 0 ]; then
        passed=$((passed + 1))
        echo "ok   $name: its deliberate fault was seen"
    else
        failed=$((failed + 1))
        echo "FAIL $name: its deliberate fault was NOT seen: this run's sanitizers are blind"
        echo "failed: $name: its deliberate fault was not seen" >>"$logs/failed"
        sed 's/^/     | /' "$logs/$name.log"
    fi
    rm -f "$logs/san/$name".*
}

wanted() {
    local name
    [ $# -gt 1 ] || return 0
    for name in "${@:2}"; do [ "$1" = "$name" ] && return 0; done
    return 1
}

for name in "$@"; do
    [ -e "tests/$name" ] || [ -e "tests/$name.c" ] || { echo "$0: no test is called $name"; exit 2; }
done

echo "== tests, config=$CONFIG"
[ "$RZ_SLOW" != 0 ] || echo "     skipped: tests that take minutes (RZ_SLOW=0)"
[ -n "$RZ_SHARED" ] || echo "     skipped: tests against reference data (no ../shared beside the checkout, RZ_SHARED is not set)"
case $CONFIG in
asan) run_canary canary_leak ;;
ubsan) run_canary canary_overflow ;;
tsan) run_canary canary_race ;;
esac
for source in tests/test_*.c; do
    name=$(basename "$source" .c)
    [ -e "$source" ] && wanted "$name" "$@" && run_unit "$name"
done
for file in tests/test_*.py; do
    [ -e "$file" ] && wanted "$(basename "$file")" "$@" && run_process "$file"
done

rm -rf "$logs/tmp"
[ ! -s "$logs/failed" ] || head -n "$FAILED_LINES" "$logs/failed"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
