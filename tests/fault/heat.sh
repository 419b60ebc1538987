# Saved heat: which experts the next start begins with; no file of it changes a result, none is an error.
. "$(dirname "$0")/../cli/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
rm -rf "$WORK/state" "$WORK/heat" "$WORK"/other*
tell() { # tell HEAT [OPTIONS]: loads of a run that keeps what was there at the start
    heat=$1
    shift
    run run "$DEMO" --raw -p 'In the morning' -n 24 --ram-experts 40% --policy static --look-ahead off --json --heat "$heat" "$@"
    exits 0
}
tell off
cold=$(json hits.loads) hash=$(json logits_xxh3)
same "without heat, in turn" "$(json fill_order)" "in turn"
check "and nothing is written" test ! -e "$WORK/state"

# learnt from one text, of use for another
run run "$DEMO" --raw -p 'It was a bright' -n 120 --temp 1 --seed 5 --heat "$WORK/heat" --json
same "the first start knows nothing" "$(json fill_order)" "in turn"
same "readable by the owner alone" "$(stat -c %a "$WORK/heat")" 600
cp heat other
tell "$WORK/other"
same "the second one does" "$(json fill_order)" "saved heat"
same "the same logits" "$(json logits_xxh3)" "$hash"
warm=$(json hits.loads)
check "fewer loads: $warm, without heat $cold" test "$((warm * 20))" -lt "$((cold * 19))"
check "what was used now is in it" sh -c "! cmp -s '$WORK/heat' '$WORK/other'"

# by itself, in a folder of files by model
tell auto
check "a file of the model's" test "$(find "$WORK/state/moxie/heat" -type f | wc -l)" -eq 1
tell auto
same "found again" "$(json fill_order)" "saved heat"

# damaged, cut, of another model, no heat at all: said in one line, ignored, and replaced
bad() { # bad WHAT TEXT
    tell "$WORK/other"
    same "$1: in turn" "$(json fill_order)" "in turn"
    same "$1: said once" "$(grep -c "$2" "$ERR")" 1
    same "$1: the same logits" "$(json logits_xxh3)" "$hash"
    tell "$WORK/other"
    same "$1: replaced" "$(json fill_order)" "saved heat"
}
{ head -c 60 heat; printf 'x'; tail -c +62 heat; } >other
bad "a wrong byte" 'is damaged'
head -c 100 heat >other
bad "a cut file" 'is damaged'
: >other
bad "an empty file" 'is not saved heat'
{ head -c 8 heat; printf 'another1'; tail -c +17 heat; } >other
bad "of another model" 'is of another model'
{ head -c 4 heat; printf '\2'; tail -c +6 heat; } >other
bad "a later version" 'has version 2'

# a place that cannot be written to: said once, and nothing else
run run "$DEMO" --raw -p x -n 2 --heat /proc/moxie/heat
exits 0
same "said once" "$(grep -c 'warning: heat:' "$ERR")" 1

# several at once: whole files, nothing left over
rm -rf "$WORK/state"
for i in 1 2 3 4; do
    "$MOXIE" run "$DEMO" --raw -p 'It was' -n 4 --threads 1 >/dev/null 2>&1 </dev/null &
done
wait
check "one file and nothing beside it" test "$(find "$WORK/state" -type f | wc -l)" -eq 1
tell auto
same "which is whole" "$(json fill_order)" "saved heat"
finish
