# Helpers of the command-line tests. A test script is run as: SCRIPT MOXIE JSONQ DATA WORK
# and ends with `finish`. Every check counts; the first lines of what a failing command said are shown.
set -u
MOXIE=$1 JSONQ=$2 DATA=$3 WORK=$4
mkdir -p "$WORK" && cd "$WORK" || exit 1
# no settings of whoever runs the tests
for name in $(env | sed -n 's/^\(MOXIE_[A-Z_]*\)=.*/\1/p'); do
    [ "$name" = MOXIE_DEMO_MODELS ] || unset "$name"
done
export XDG_CONFIG_HOME=$WORK/xdg XDG_STATE_HOME=$WORK/state
OUT=$WORK/out ERR=$WORK/err
checks=0 failures=0

# run ARGS...: moxie ARGS, stdout to $OUT, stderr to $ERR, exit code in $rc
run() {
    "$MOXIE" "$@" >"$OUT" 2>"$ERR" </dev/null
    rc=$?
    last="moxie $*"
}
fail() {
    failures=$((failures + 1))
    printf 'FAILED %s\n  after: %s (exit %s)\n' "$1" "${last:-}" "${rc:-}"
    head -5 "$ERR" 2>/dev/null | sed 's/^/  stderr: /'
}
check() { # check NAME COMMAND...: the command succeeds
    checks=$((checks + 1))
    local name=$1
    shift
    "$@" || fail "$name"
}
exits() { check "exits $1" test "$rc" -eq "$1"; }
says() { check "stderr has: $1" grep -q -e "$1" "$ERR"; }
prints() { check "stdout has: $1" grep -q -e "$1" "$OUT"; }
stdout_empty() { check "stdout is empty" test ! -s "$OUT"; }
is_json() { check "stdout is JSON" "$JSONQ" "$OUT"; }
json() { "$JSONQ" "${2:-$OUT}" "$1"; }
same() { # same WHAT A B
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1: $2 is not $3"
}
finish() {
    printf '%s checks, %s failed\n' "$checks" "$failures"
    [ "$failures" -eq 0 ]
    exit
}
