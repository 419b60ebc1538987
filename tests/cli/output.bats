# Where output goes and what it looks like: pipes, narrow and dumb terminals, NO_COLOR, locales, full disks, readers
# that leave.
load lib

escape=$(printf '\033')
plain() { check "$1 has no escapes" sh -c "! grep -q '$escape' $1"; }

# A terminal of 40 columns; what the program sends to it is in `typed`. Arguments go through the shell.
terminal() {
    local command
    printf -v command '%q ' "$BIN" "$@"
    rc=0 last="in a terminal of 40 columns: moxie $*"
    script -qefc "stty cols 40 rows 24; $command 2>&1" typed >/dev/null </dev/null || rc=$?
    sed -i '1d;$d' typed # script's own lines
}

@test "on a pipe: no escapes, no bar, whole lines" {
    "$BIN" run "$DEMO" --raw -p 'It was' -n 4 2>&1 </dev/null | cat >both
    plain both
    check "no carriage returns" sh -c "! grep -q \$(printf '\r') both"
    check "no bar" sh -c "! grep -q '##' both"
    for command in 'info' 'config show' 'explain' 'explain 4001' '--help' 'run --help-all'; do
        # shellcheck disable=SC2086 # words
        mox $command
        exits 0
        plain out
        plain err
    done
}

@test "names of files: shown, not sent" {
    local name=$'a\e[31m\nb.gguf' command
    cp "$A" "$name"
    for command in info 'run -p a -n 1' verify doctor 'bench -p 8 -n 2 -r 1'; do
        # shellcheck disable=SC2086 # words
        mox ${command%% *} "$name" ${command#"${command%% *}"}
        exits 0
        plain out
        plain err
        check "the name stands there, on one line" grep -q 'opening a\\x1B\[31m\\nb.gguf$' err
    done
    mox info $'none\e[31m'
    exits 6
    plain err
    says 'none\\x1B\[31m: cannot'
    mkdir -p $'x\e[31m/moxie'
    echo 'ctx = 64' >$'x\e[31m/moxie/config'
    for command in 'config show --origin' 'config path'; do
        # shellcheck disable=SC2086 # words
        XDG_CONFIG_HOME=$PWD/$'x\e[31m' mox $command
        exits 0
        plain out
        check "the file stands there" grep -q 'x\\x1B\[31m/moxie/config' out
    done
}

@test "in a terminal of 40 columns, NO_COLOR, TERM=dumb: no escapes but in a terminal that takes them" {
    [ -x /usr/bin/script ] || skip "script(1) is not installed"
    terminal run "$DEMO" --raw -p 'It was' -n 4
    exits 0
    check "the answer came" grep -q 'ready in' typed
    check "no bar is wider than the terminal" awk -v RS='\r' '/GB.s .* s left$/ && length($0) > 39 + 3 { exit 1 }' typed
    TERM=dumb terminal run "$DEMO" --raw -p 'It was' -n 4
    exits 0
    plain typed
    NO_COLOR=1 TERM=xterm-256color terminal run "$DEMO" --raw -p 'It was' -n 4
    exits 0
    check "no colours" sh -c "! grep -q '$escape\[[0-9;]*m' typed"
    NO_COLOR=1 terminal run "$DEMO" --rma 1G
    exits 2
    check "no colours" sh -c "! grep -q '$escape\[[0-9;]*m' typed"
    terminal info "$DEMO" --json
    plain typed
}

@test "C, unknown and 8-bit locales: the same bytes, and ASCII alone from the program itself" {
    LC_ALL=C.UTF-8 mox run "$DEMO" --raw -p 'It was a bright' -n 24
    cp out text
    for locale in C POSIX en_US.ISO-8859-1 xx_YY.nonsense de_DE; do
        LC_ALL=$locale LANG=$locale mox run "$DEMO" --raw -p 'It was a bright' -n 24
        exits 0
        check "$locale: the same text" cmp -s out text
        check "$locale: ASCII on stderr" sh -c "! LC_ALL=C grep -q '[^ -~	]' err"
        LC_ALL=$locale mox info "$DEMO" --json
        is_json
        LC_ALL=$locale mox --help
        check "$locale: help is ASCII" sh -c "! LC_ALL=C grep -q '[^ -~	]' out"
    done
    LC_ALL=de_DE.UTF-8 LC_NUMERIC=de_DE.UTF-8 mox run "$DEMO" --raw -p x -n 2 --temp 0.5 --json
    is_json
}

@test "a full disk: every output that cannot be written is named, exit code 6" {
    while read -r command; do
        rc=0 last="moxie $command >/dev/full"
        # shellcheck disable=SC2086 # words
        "$BIN" $command >/dev/full 2>err </dev/null || rc=$?
        : >out
        exits 6
        says '^moxie: error: .*standard output could not be written.* \[MX-6005\]$'
    done <<.
run $DEMO --raw -p x -n 2
run $DEMO --raw -p x -n 2 --json
run $DEMO --dry-run --json
info $DEMO
info $DEMO --json
info $DEMO --tensors
tokenize $DEMO
config show
explain
completion bash
help
help --man run
--help
--version
run --help
.
    echo 1 2 3 >ids
    mox logits "$DEMO" --tokens ids --out /dev/full
    exits 6
    says 'could not be written: No space left on device \[MX-6005\]'
    for command in 'run --raw -p x -n 2' 'logits --tokens ids --json' 'perplexity --tokens ids'; do
        # shellcheck disable=SC2086 # words
        mox $command -m "$DEMO" --record /dev/full
        exits 6
        says '/dev/full cannot be written: No space left on device \[MX-6005\]'
    done
}

@test "a file that may not grow: the same as a full disk, not a signal" {
    rc=0 last='run --record with a limit on file sizes'
    (ulimit -f 1; "$BIN" run "$DEMO" --raw -p 'It was a bright' -n 60 --record trace) >/dev/null 2>err </dev/null || rc=$?
    : >out
    exits 6
    says 'trace: writing records failed: File too large \[MX-6005\]'
}

@test "a reader that leaves: not a word, exit code 141, and the trace is whole" {
    for ignore in '' "trap '' PIPE;"; do
        rc=0 last="run | head, ${ignore:-SIGPIPE as usual}"
        bash -c "$ignore \"\$0\" run \"\$1\" --raw -p 'It was' -n 400 --ctx 600 --record trace 2>err; echo \$? >code" \
            "$BIN" "$DEMO" </dev/null | head -c 5 >out
        rc=$(cat code)
        exits 141
        same "it had begun" "$(wc -c <out)" 5
        says_not error
        mox profile export --csv trace
        exits 0
        at_least "rows" "$(wc -l <out)" 12
    done
    for command in --help 'info --json' explain 'completion bash'; do
        rc=0 last="moxie $command, nobody reads"
        # shellcheck disable=SC2086 # words
        { "$BIN" $command 2>err; echo $? >code; } </dev/null | true
        rc=$(cat code)
        # what fits into the pipe before `true` has left is no failure
        [ "$rc" -eq 0 ] || exits 141
        says_not error
    done
}

@test "closed standard files: a trace does not become standard output" {
    rc=0 last='run with stdout closed'
    "$BIN" run "$DEMO" --raw -p 'It was' -n 4 --record trace >&- 2>err </dev/null || rc=$?
    : >out
    exits 6
    says 'standard output could not be written'
    check "the trace is a trace" "$BIN" profile export --csv trace -o /dev/null
    "$BIN" info "$DEMO" <&- >out 2>&-
    prints 'supported: yes'
}
