# moxie pack from the command line: what it says, what it leaves, and that every command takes the result.
. "$(dirname "$0")/../cli/lib.sh"
MODEL=$DATA/demo/moxie-demo-Q4_K_M.gguf
rm -f ./*.moxie ./*.part

run pack
exits 2
says 'moxie pack MODEL OUT'
run pack "$MODEL" a.moxie --json
exits 0
is_json
same "experts" "$(json records)" 48
same "bytes" "$(json out_bytes)" "$(stat -c %s a.moxie)"
run pack "$MODEL" a.moxie
exits 6
says 'exists'
says '--force'
stdout_empty
run pack a.moxie b.moxie
exits 2
says 'packed already'
check "nothing was written" test ! -e b.moxie

# every command, the same answers
echo 1 415 703 17 29 500 311 >ids
for args in "logits --tokens ids --json --ram-experts 30%" "logits --tokens ids --json --ram min --io pread"; do
    for file in "$MODEL" a.moxie; do
        # shellcheck disable=SC2086
        run $args --verify always "$file"
        exits 0
        json logits_xxh3 >>hashes
    done
done
same "logits hashes" "$(sort -u hashes | wc -l)" 1
rm -f hashes
for args in "run -p Once -n 12" "perplexity --tokens ids"; do
    # shellcheck disable=SC2086
    run $args "$MODEL"
    cp "$OUT" plain
    # shellcheck disable=SC2086
    run $args a.moxie
    exits 0
    check "$args: the same output" cmp -s plain "$OUT"
done
run tokenize a.moxie
exits 0
run info a.moxie
exits 0
grep -v -e '^  packed' -e '^  file' "$OUT" >packed
prints '^  packed '
run info "$MODEL"
grep -v '^  file' "$OUT" >plain
check "info differs in nothing else" cmp -s plain packed
run info a.moxie --tensors
prints 'blk.0.ffn_up_exps.weight .* in records$'
prints 'token_embd.weight .* file 0 at [0-9]*$'

# damage
size=$(stat -c %s a.moxie)
cp a.moxie cut.moxie
truncate -s $((size / 2)) cut.moxie
run info cut.moxie
exits 3
cp a.moxie bad.moxie # the last record's last slice lies before the last page of checksums
printf '\377\376' | dd of=bad.moxie bs=1 seek=$((size - 4096 - 5000)) conv=notrunc 2>/dev/null
run logits --tokens ids --json --ram-experts 100% --verify always bad.moxie
exits 6
says 'layer 5, expert 7, slice'

# a limit on file sizes is said, and nothing is left; so it is after Ctrl-C
(
    ulimit -f 2000
    "$MOXIE" pack "$MODEL" big.moxie 2>"$ERR"
    exit $?
)
rc=$? last="pack under ulimit -f"
exits 6
says 'big.moxie.part failed'
check "no part is left" test ! -e big.moxie.part -a ! -e big.moxie
set -m
for signal in INT TERM; do
    (trap - INT; exec "$MOXIE" pack "$MODEL" "stop$signal.moxie" 2>"$ERR") &
    pid=$! last="pack, then SIG$signal"
    until [ -e "stop$signal.moxie.part" ] || ! kill -0 $pid 2>/dev/null; do :; done
    kill -s $signal $pid 2>/dev/null
    wait $pid
    rc=$?
    check "stopped or done" test $rc -eq 130 -o $rc -eq 143 -o $rc -eq 0
    check "no part is left" test ! -e "stop$signal.moxie.part"
    [ $rc -eq 0 ] || check "no file is left" test ! -e "stop$signal.moxie"
done
rm -f ./*.moxie
finish
