# A model bigger than its budget: peak resident memory stays within --ram plus 16 MiB, whatever the micro-batch
# and backend. small: 256 MiB in a quarter. big: about 4.8 GB in a tenth, under a cgroup limit when root. cards: the CPU
# plays a card that takes all of a model with a large dense part, which must not lie in RAM as well while it is loaded.
#   peak_rss.sh MOXIE JSONQ DATA WORK PEAK_RSS SYNTH small|big|cards
. "$(dirname "$0")/../lib.sh"
PEAK_RSS=$5 SYNTH=$6 FORM=$7
MODEL=$WORK/$FORM.gguf

type=q4_k
if [ "$FORM" = cards ]; then
    shape='--d-model 1024 --d-ff 512 --layers 2 --experts 4 --top-k 2 --vocab 48000 --heads 8 --kv-heads 2' type=q8_0
elif [ "$FORM" = big ]; then
    shape='--d-model 2048 --d-ff 7168 --layers 12 --experts 16 --top-k 2 --vocab 4096 --heads 16 --kv-heads 4'
    part=10 cases='uring:512'
else
    shape='--d-model 1024 --d-ff 2560 --layers 4 --experts 15 --top-k 2 --vocab 4096 --heads 8 --kv-heads 2'
    part=4 cases='uring:512 pread:64 uring:7'
fi
[ -s "$MODEL" ] || "$SYNTH" --out "$MODEL" --type $type --ctx 512 $shape >"$OUT" 2>"$ERR"
rc=$? last=moxie-synth
exits 0
if [ "$FORM" = cards ]; then
    seq 1 20 >ids.txt
    for ram in min 300M; do
        "$MOXIE" run "$MODEL" --dry-run --json --ctx 64 --device cpu:vram=1G --vram-experts 100% --ram $ram >"$OUT" 2>"$ERR"
        rc=$? last="run --dry-run --ram $ram"
        exits 0
        total=$(json plan.total_bytes) far=$(json plan.devices.0.total_bytes)
        same "taken" "$(json actual_bytes)" $((total - $(json plan.process_bytes)))
        "$PEAK_RSS" $(((total + far) / 1024 + 16 * 1024)) "$MOXIE" logits "$MODEL" --tokens ids.txt --json --ctx 64 \
            --device cpu:vram=1G --vram-experts 100% --ram $ram >"$OUT" 2>"$ERR" </dev/null
        rc=$? last="logits --ram $ram --device cpu:vram=1G"
        grep peak_rss "$ERR"
        exits 0
        hash=$(json logits_xxh3)
        same "the same answer" "$hash" "${first:=$hash}"
    done
    "$MOXIE" logits "$MODEL" --tokens ids.txt --json --ctx 64 >"$OUT" 2>"$ERR" </dev/null
    rc=$? last="logits without a card"
    exits 0
    same "the same answer without a card" "$(json logits_xxh3)" "$first"
    finish
fi
ram_kib=$(($(wc -c <"$MODEL") / 1024 / part))
limit_kib=$((ram_kib + 16 * 1024))
i=0
while [ $i -lt 300 ]; do
    i=$((i + 1))
    echo $((i * 37 % 4096))
done >ids.txt

# A cgroup of our own with the limit, so that overuse is an out-of-memory kill; $group stays empty where none can be
# made (not root, no memory controller).
group=
make_group() {
    local base=/sys/fs/cgroup file=memory.max
    if [ -d $base/memory ]; then # version 1
        base=$base/memory file=memory.limit_in_bytes
    elif ! grep -qw memory $base/cgroup.subtree_control 2>/dev/null; then
        return
    fi
    [ "$(id -u)" = 0 ] && mkdir "$base/moxie-test-$$" 2>/dev/null || return
    group=$base/moxie-test-$$
    trap 'rmdir "$group"' EXIT
    [ -e "$group/$file" ] && echo $((limit_kib * 1024)) >"$group/$file" || group=
}
[ "$FORM" = big ] && make_group
if [ -n "$group" ]; then echo "under a cgroup limit of $limit_kib KiB"; else echo 'without a cgroup limit'; fi

in_limit() {
    if [ -n "$group" ]; then
        sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$@"
    else
        "$@"
    fi
}

for case in $cases; do
    io=${case%%:*} batch=${case##*:}
    in_limit "$PEAK_RSS" $limit_kib "$MOXIE" logits "$MODEL" --tokens ids.txt --json --ctx 512 --ram ${ram_kib}K \
        --io $io --batch $batch >"$OUT" 2>"$ERR" </dev/null
    rc=$? last="logits --ram ${ram_kib}K --io $io --batch $batch"
    grep peak_rss "$ERR"
    exits 0
    is_json
    check "experts were read again and again" test "$(json bytes_read.demand)" -gt 0
    hash=$(json logits_xxh3)
    same "the same answer" "$hash" "${first:=$hash}"
    check "the plan keeps the budget" test "$(json plan.total_bytes)" -le $((ram_kib * 1024))
done
[ "$FORM" = big ] && rm -f "$MODEL"
finish
