# Helpers of the command-line tests: `load lib` at the top of a .bats file. ctest gives the program (BIN), jsonq (JSONQ)
# and tests/data (DATA). Each test has a folder of its own, no settings of whoever runs it, and `mox`:
#
#   mox run "$DEMO" -p hi     stdout to out, stderr to err, exit code in $rc
#   exits 2; says 'MX-2002'; prints '^moxie'; stdout_empty; is_json; same WHAT A B
#
# A check that does not hold says what was run, what it printed, and fails the test.
bats_require_minimum_version 1.5.0
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
A=$DATA/models/mixtral-a.gguf

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    local name
    for name in $(compgen -e MOXIE_); do
        unset "$name"
    done
    export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/xdg XDG_STATE_HOME=$BATS_TEST_TMPDIR/state
    mkdir -p "$XDG_CONFIG_HOME/moxie"
    CONFIG=$XDG_CONFIG_HOME/moxie/config
}

mox() {
    rc=0
    last="moxie $*"
    "$BIN" "$@" >out 2>err </dev/null || rc=$?
}
# The same with standard input as it is.
mox_in() {
    rc=0
    last="moxie $*"
    "$BIN" "$@" >out 2>err || rc=$?
}
failed() {
    printf 'FAILED: %s\n  after: %s (exit %s)\n' "$1" "$last" "$rc"
    sed 's/^/  stderr: /' err 2>/dev/null | tail -6
    head -3 out 2>/dev/null | cut -c1-300 | sed 's/^/  stdout: /'
    return 1
}
check() { # check WHAT COMMAND...: the command succeeds
    local what=$1
    shift
    "$@" || failed "$what"
}
exits() { [ "$rc" -eq "$1" ] || failed "exit code $1"; }
says() { grep -q -e "$1" err || failed "stderr has: $1"; }
says_not() { ! grep -q -e "$1" err || failed "stderr has not: $1"; }
prints() { grep -q -e "$1" out || failed "stdout has: $1"; }
prints_not() { ! grep -q -e "$1" out || failed "stdout has not: $1"; }
stdout_empty() { [ ! -s out ] || failed "stdout is empty"; }
json() { "$JSONQ" "${2:-out}" "$1"; }
is_json() { "$JSONQ" "${1:-out}" || failed "${1:-stdout} is JSON"; }
schema() { is_json && same schema "$(json schema)" "$1"; }
same() { [ "$2" = "$3" ] || failed "$1: '$2' is not '$3'"; }
differ() { [ "$2" != "$3" ] || failed "$1: '$2' twice"; }
at_least() { awk -v a="$2" -v b="$3" 'BEGIN { exit !(a + 0 >= b + 0) }' || failed "$1: $2 is less than $3"; }

# An error in the style of all errors: lower case, no full stop, its code, then advice or nothing; nothing on stdout.
styled() { # styled EXIT CODE ARGS...
    local exit=$1 code=$2
    shift 2
    mox "$@"
    exits "$exit"
    stdout_empty
    grep '^moxie: error: ' err >first || true
    same "errors" "$(wc -l <first)" 1
    grep -qE "^moxie: error: [^A-Z].*[^.] \[$code\]\$" first || failed "an error with $code: $(cat first)"
    [ -z "$(sed '1,/error: /d' err | grep -v -e '^try:  ' -e '^      ')" ] || failed 'then advice or nothing'
    [ "$(wc -l <err)" -le 24 ] || failed 'one screen'
}
# Values that an option refuses.
refuses() { # refuses COMMAND OPTION VALUE...
    local command=$1 option=$2 value
    shift 2
    for value in "$@"; do
        styled 2 MX-2002 "$command" "$DEMO" "$option" "$value"
    done
}
