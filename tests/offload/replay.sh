# moxie-replay on recorded runs: with all experts kept nothing is read by anybody; with some of them Belady's rule reads
# least, and with none every policy reads each expert that a step names.
#   replay.sh MOXIE REPLAY DATA WORK
set -u
MOXIE=$1 REPLAY=$2 DEMO=$3/demo/moxie-demo-Q4_K_M.gguf
cd "$4" || exit 1
bad=0
fail() {
    echo "not ok: $1" >&2
    bad=1
}
record() {
    "$MOXIE" run "$DEMO" --raw -p 'It was a bright cold day' -n 60 --temp 0.8 --ram-experts "$1" --record "$1.trace" \
        --look-ahead off >/dev/null 2>run.err || fail "run --ram-experts $1"
}
reads() { # FILE POLICY
    sed -n "s/^| $2 | \([0-9]*\) .*/\1/p" "$1"
}
record 48
"$REPLAY" 48.trace --kept 48 >all.md || fail "exit of all kept"
for policy in 'the run' dlfu lru lfu static belady; do
    [ "$(reads all.md "$policy")" = 0 ] || fail "$policy read something with all experts kept"
done
record 20
"$REPLAY" 20.trace --kept 20 >some.md || fail "exit of 20 kept"
"$REPLAY" 20.trace --kept 0 >none.md || fail "exit of none kept"
for policy in dlfu lru lfu static; do
    [ "$(reads some.md belady)" -le "$(reads some.md $policy)" ] || fail "$policy reads less than belady"
    [ "$(reads none.md belady)" = "$(reads none.md $policy)" ] || fail "$policy keeps what it may not"
done
[ "$(reads some.md belady)" -gt 0 ] && [ "$(reads some.md 'the run')" -gt 0 ] || fail "nothing was read"
# With the transit slots replayed too (two for each of the top 2), a run without look-ahead and saved heat reads as much:
# what stays is the same for ever under static, and under others ties in a micro-batch of the prompt may go otherwise.
for policy in static dlfu lru; do
    "$MOXIE" run "$DEMO" --raw -p 'It was a bright cold day' -n 120 --temp 0.8 --ram-experts 20 --record $policy.trace \
        --look-ahead off --heat off --policy $policy >/dev/null 2>run.err || fail "run --policy $policy"
    "$REPLAY" $policy.trace --kept 20 --transit 4 >$policy.md || fail "exit with transit slots"
    run=$(reads $policy.md 'the run') replay=$(reads $policy.md $policy) off=0
    [ $policy = static ] || off=$((run / 20))
    [ "$replay" -ge $((run - off)) ] && [ "$replay" -le $((run + off)) ] || fail "$policy: $replay reads replayed, $run read"
    "$REPLAY" $policy.trace --kept 20 >without.md || fail "exit without transit slots"
    [ "$replay" -lt "$(reads without.md $policy)" ] || fail "$policy: transit slots hold nothing"
done
"$REPLAY" 20.trace --kept 20 --transit x >/dev/null 2>&1
[ $? = 2 ] || fail "exit of --transit x"
"$REPLAY" 20.trace >/dev/null 2>&1
[ $? = 2 ] || fail "exit without --kept"
"$REPLAY" "$DEMO" --kept 3 >/dev/null 2>refused
[ $? = 3 ] && grep -q moxie-replay: refused || fail "exit for a file that is no trace"
exit $bad
