# Accuracy on real text: perplexity of the demo's evaluation tokens within 2 % of the reference for rounded
# activations, KL against the F16 logits. With MOXIE_DEMO_MODELS=DIR (a folder with moxie-demo-f16.gguf and other
# quantised files, too big to be kept here) every file there: KL(F16 with --act f32 || file) within 1.25x of the
# reference. Figures: tests/data/demo/quality.json.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
dir=${MOXIE_DEMO_MODELS:-}
unset MOXIE_DEMO_MODELS # the program would say that it does not know it
QUALITY=$DATA/demo/quality.json

# one sequence a line
tr -d '\n' <"$DATA/demo/eval_tokens.json" | grep -o '"tokens": *\[[^]]*\]' | sed 's/.*\[//; s/[],]/ /g' >eval.txt
same "36 sequences of 256 tokens" "$(wc -l <eval.txt),$(wc -w <eval.txt)" 36,9216
head -2 eval.txt | cut -d' ' -f1-300 | awk '{ for (i = 1; i <= 64; i++) printf "%s ", $i; print "" }' >first.txt

reference() { "$JSONQ" "$QUALITY" "$1.rounded_activations.$2"; }
within() { # within WHAT VALUE REFERENCE FACTOR: VALUE <= REFERENCE x FACTOR
    echo "$1: $2, reference $3"
    check "$1 $2 is within $4 x $3" awk -v v="$2" -v r="$3" -v f="$4" 'BEGIN { exit !(v > 0 && v <= r * f) }'
}

run perplexity "$DEMO" --tokens eval.txt --json --ram-experts 40%
exits 0
ppl=$(json perplexity)
within "perplexity Q4_K_M" "$ppl" "$(reference moxie-demo-Q4_K_M.gguf perplexity)" 1.02
within "and not below" "$(reference moxie-demo-Q4_K_M.gguf perplexity)" "$ppl" 1.02
run perplexity "$DEMO" --tokens first.txt --base "$DATA/demo/demo-f16.logits.f32" --json
exits 0
same "positions" "$(json positions_compared)" 128
# no reference for this part of the text: the bound is from a run that met the reference for all of it (0.01324)
within "KL of the first positions" "$(json kl_mean)" 0.01324 1.25

if [ -z "$dir" ]; then
    echo 'MOXIE_DEMO_MODELS is not set: the other quantised files were not run'
else
    for file in "$dir"/moxie-demo-Q*.gguf "$dir"/moxie-demo-IQ*.gguf; do
        name=$(basename "$file")
        run perplexity "$file" --tokens eval.txt --base-model "$dir/moxie-demo-f16.gguf" --json
        exits 0
        within "perplexity $name" "$(json perplexity)" "$(reference "$name" perplexity)" 1.02
        within "KL $name" "$(json kl_mean)" "$(reference "$name" kl_mean)" 1.25
    done
fi
finish
