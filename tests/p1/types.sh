#!/bin/bash
# An expert in any storage format can be resident, missed and split: for every type a small model is made, and its logits
# have one hash over p1_devices' covering set (experts in VRAM, --miss, experts in RAM, micro-batch, policy). Usage:
#   types.sh SYNTH P1_DEVICES DIR [options of p1_devices]
set -eu
synth=$1 devices=$2 dir=$3
shift 3
model=$dir/types-$$.gguf
trap 'rm -f "$model"' EXIT
trap 'exit 130' INT TERM
types='f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq4_nl
iq4_xs tq1_0 tq2_0 mxfp4 nvfp4'
failed=0 n=0
for type in $types; do
    "$synth" --out "$model" --type "$type" --layers 2 --d-model 256 --d-ff 256 --experts 7 --top-k 2 --heads 4 --kv-heads 2 \
        --vocab 300 --ctx 64 --seed 5 2>/dev/null
    n=$((n + 1))
    if out=$("$devices" --tokens 24 --configs 1 "$@" "$model"); then
        echo "$type: ${out##*: }"
    else
        failed=$((failed + 1))
        echo "$type failed:"
        echo "$out" | grep -v '^ok'
    fi
done
echo "$n types, $failed failed"
[ "$failed" = 0 ] && [ "$n" = 26 ]
