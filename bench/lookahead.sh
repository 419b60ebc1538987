#!/bin/bash
# Does look-ahead pay? On the demo model, half of its experts in RAM, reads slowed down (--io-limit) until one
# expert's read takes twice a layer's compute. Prints how long a decode step waits for experts with look-ahead on and
# off, in turns, and what random predictions cost.
#   bench/lookahead.sh MOXIE JSONQ [MODEL]
# One thread of plain C computes: a layer of so small a model is otherwise over in less time than it takes to wake a
# thread, and there is nothing to hide a read behind. The drive's rate is the mean expert's bytes over two layers'
# computing; what a missed expert is waited for in fact is printed beside it (computing residents hides a part of a read,
# waking threads adds to it). Answers fill the context: short ones differ too much from each other.
set -eu
moxie=$1 jsonq=$2
model=${3:-$(dirname "$(readlink -f "$0")")/../tests/data/demo/moxie-demo-Q4_K_M.gguf}
answer=460
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

value() {
    "$jsonq" "$work/out" "tests.1.$1"
}

bench() { # bench OPTIONS...: sets tok (median tok/s), wait (seconds in all), missed (experts that were waited for)
    "$moxie" bench "$model" --isa scalar --threads 1 -p 16 -n $answer -r 3 --json "$@" >"$work/out" 2>"$work/err" || {
        cat "$work/err" >&2
        exit 1
    }
    tok=$(value tok_s.median) wait=$(value wait_seconds.decode)
    missed=$(($(value hits_decode.late.uses) + $(value hits_decode.file.uses)))
}

"$moxie" info "$model" --json >"$work/info" 2>/dev/null
layers=$("$jsonq" "$work/info" moe_layers)
experts=$(($("$jsonq" "$work/info" experts_per_layer) * layers))
expert=$(($("$jsonq" "$work/info" expert_bytes) / experts))
bench --ram-experts 100%
layer=$(awk -v t="$tok" -v l="$layers" 'BEGIN { print 1e6 / t / l }')
limit=$(awk -v e="$expert" -v u="$layer" 'BEGIN { printf "%d", e * 1e6 / (2 * u) / 1024 }')
echo "a layer computes for $layer us, a mean expert has $expert bytes: --io-limit ${limit}K"
for turn in 1 2 3; do
    for setting in '--look-ahead off' '--look-ahead on' '--look-ahead on --shuffle-predictions'; do
        # shellcheck disable=SC2086 # a list of options
        bench --ram-experts 50% --io-limit "${limit}K" $setting
        echo "50 %, $setting: $tok tok/s, $wait s of waiting in $((3 * answer)) tokens, $missed experts missed or late," \
            "switched off $(value prefetch.switched_off) times"
    done
done
