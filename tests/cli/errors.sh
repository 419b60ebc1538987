# Files that are missing, not models, broken; budgets below the floor: named errors with their exit codes.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

run run missing.gguf -p x
exits 6
says 'missing.gguf'
says 'MX-6002'
stdout_empty
printf 'this is a text, not a model, and long enough to be read as a header\n' >text.gguf
for command in info 'run -p x' 'logits --json --tokens ids.txt'; do
    echo 1 2 3 >ids.txt
    set -- $command
    first=$1
    shift
    run "$first" text.gguf "$@"
    exits 3
    says 'MX-3003'
    stdout_empty
done
: >empty.gguf
run info empty.gguf
exits 3
head -c 100000 "$DEMO" >short.gguf
run run short.gguf -p x
exits 3
says 'MX-3002'
stdout_empty
head -c 13000000 "$DEMO" >cut.gguf
run run cut.gguf -p x
exits 3
says 'MX-3002'

run run "$DEMO" -p x --ram 1M
exits 4
says 'MX-4001'
says '^try:'
check "one screen" test "$(wc -l <"$ERR")" -le 24
stdout_empty
run run "$DEMO" --raw -p x --ctx 4 -n 1 --ram-experts 100%
rc_small=$rc
check "a context of 4 works for a short prompt" test "$rc_small" -eq 0
run run "$DEMO" --raw -p 'one two three four five six seven eight nine ten' --ctx 4
exits 1
says 'MX-2004'
echo 1 99999999 >ids.txt
run logits "$DEMO" --tokens ids.txt --json
exits 2
says 'MX-2005'
echo 1 abc >ids.txt
run logits "$DEMO" --tokens ids.txt --json
exits 2
run logits "$DEMO" --tokens missing.txt --json
exits 6
run logits "$DEMO" --tokens ids.txt --out /nonexistent/dir/x.f32
check "an output that cannot be made fails" test "$rc" -ne 0

# every error of this kind fits a screen, ends its first line with the code, and is explained
run explain
exits 0
codes=$(sed -n 's/^\(MX-[0-9]*\)  .*/\1/p' "$OUT")
check "the codes are listed" test "$(echo "$codes" | wc -w)" -ge 30
for code in $codes; do
    run explain "$code"
    exits 0
    prints "^$code: "
    prints 'what to do'
    check "$code fits a screen" sh -c "[ \$(wc -l <'$OUT') -le 24 ]"
done
run explain 4001
prints '^MX-4001'
run explain MX-9999
exits 2
says 'no error code MX-9999'
styled() { # ARGS...: a failing command's stderr is in the style of all errors
    run "$@"
    check "$1 fails" test "$rc" -ne 0
    check "$1: first the error, with its code" sh -c "grep -v -e 'opening' -e 'built-in' '$ERR' | head -1 | grep -qE '^moxie: error: [^A-Z].*[^.] \[MX-[0-9]{4}\]\$'"
    check "$1: then advice or nothing" sh -c "[ -z \"\$(sed '1,/error: /d' '$ERR' | grep -v -e '^try:  ' -e '^      ')\" ]"
    stdout_empty
}
echo 1 2 3 >ids.txt
for command in run info tokenize 'logits --tokens ids.txt --json' 'perplexity --text ids.txt' bench; do
    set -- $command
    first=$1
    shift
    [ "$first" = run ] && set -- -p x
    styled "$first" missing.gguf "$@"
    styled "$first" text.gguf "$@"
    styled "$first" "$DEMO" --no-such-option
done
printf '1 a\033[2Jb\n2\n' >ids.txt
styled logits "$DEMO" --tokens ids.txt --json
check 'escapes are shown, not sent' sh -c "! grep -q $'\033' '$ERR'"
styled explain nothing
styled completion csh
styled config nothing
finish
