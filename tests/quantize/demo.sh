# Quantising the demo model: its perplexity and KL not more than 5 % above those of the files that llama.cpp's quantiser
# wrote. Needs MOXIE_FIXTURES, a folder with demo/moxie-demo-f16.gguf (44 MB, not kept here); skipped elsewhere.
fixtures=${MOXIE_FIXTURES:-}
unset MOXIE_FIXTURES
. "$(dirname "$0")/../cli/lib.sh"
model=$fixtures/demo/moxie-demo-f16.gguf
if [ ! -r "$model" ]; then
    echo 'skipped: MOXIE_FIXTURES does not name a folder with demo/moxie-demo-f16.gguf'
    exit 77
fi
QUALITY=$DATA/demo/quality.json
tr -d '\n' <"$DATA/demo/eval_tokens.json" | grep -o '"tokens": *\[[^]]*\]' | sed 's/.*\[//; s/[],]/ /g' >eval.txt

within() { # within WHAT VALUE REFERENCE
    echo "$1: $2, reference $3"
    check "$1 $2 is within 1.05 x $3" awk -v v="$2" -v r="$3" 'BEGIN { exit !(v > 0 && v <= r * 1.05) }'
}
for type in Q8_0 Q6_K Q5_K_M Q4_K_M Q4_0 IQ4_XS Q3_K_M Q2_K; do
    name=moxie-demo-$type.gguf
    run quantize "$model" "$name" --type $type --force --json
    exits 0
    same "bytes of $type" "$(stat -c %s "$name")" "$("$JSONQ" "$QUALITY" "$name.bytes")"
    run perplexity "$name" --tokens eval.txt --base-model "$model" --json
    exits 0
    within "perplexity $type" "$(json perplexity)" "$("$JSONQ" "$QUALITY" "$name.rounded_activations.perplexity")"
    within "KL $type" "$(json kl_mean)" "$("$JSONQ" "$QUALITY" "$name.rounded_activations.kl_mean")"
    rm -f "$name"
done
finish
