#!/bin/bash
# Does look-ahead pay? On the demo model, half of its experts in RAM, reads slowed down (--io-limit) so that one
# expert's read takes twice a layer's compute. Prints the time a decode step waits for experts with look-ahead on
# and off, and what random predictions cost.
#   bench/lookahead.sh MOXIE JSONQ [MODEL]
set -eu
moxie=$1 jsonq=$2
model=${3:-$(dirname "$(readlink -f "$0")")/../tests/data/demo/moxie-demo-Q4_K_M.gguf}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bench() { # bench OPTIONS...: sets tok (median tok/s), wait (seconds per token), off (times switched off)
    "$moxie" bench "$model" -p 16 -n 200 -r 3 --json "$@" >"$work/out" 2>"$work/err" || {
        cat "$work/err" >&2
        exit 1
    }
    tok=$("$jsonq" "$work/out" tests.1.tok_s.median)
    wait=$("$jsonq" "$work/out" tests.1.wait_seconds.decode)
    off=$("$jsonq" "$work/out" tests.1.prefetch.switched_off)
}

"$moxie" info "$model" --json >"$work/info" 2>/dev/null
expert=$("$jsonq" "$work/info" expert_max_bytes)
layers=$("$jsonq" "$work/info" moe_layers)
bench --ram-experts 100%
limit=$(awk -v t="$tok" -v l="$layers" -v e="$expert" 'BEGIN { printf "%d", e * t * l / 2 / 1024 }')
echo "all experts in RAM: $tok tok/s; one expert $expert bytes; --io-limit ${limit}K"
for setting in '--look-ahead off' '--look-ahead on' '--look-ahead on --shuffle-predictions' '--look-ahead off'; do
    bench --ram-experts 50% --io-limit "${limit}K" $setting
    echo "50 %, $setting: $tok tok/s, $wait s of waiting in 600 tokens, switched off $off times"
done
