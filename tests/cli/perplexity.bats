# moxie perplexity: how well a model predicts a text. Accuracy itself: quality.sh.
load lib

text() { printf 'Once upon a time there was a king who had three sons and a daughter.' >text; }

@test "--text and --tokens: the same tokens, the same number" {
    text
    mox perplexity "$DEMO" --text text --json
    exits 0
    schema moxie.perplexity/1
    ppl=$(json perplexity)
    at_least "a perplexity" "$ppl" 1
    mox_in tokenize "$DEMO" <text
    cp out ids
    mox perplexity "$DEMO" --tokens ids --json
    same "from ids" "$(json perplexity)" "$ppl"
    mox_in perplexity -m "$DEMO" --tokens - --json <ids
    same "from a pipe" "$(json perplexity)" "$ppl"
    mox perplexity --model "$DEMO" --text text
    exits 0
    prints perplexity
}

@test "the same number whatever the options of the engine" {
    text
    mox perplexity "$DEMO" --text text --json
    ppl=$(json perplexity)
    while read -r options; do
        # shellcheck disable=SC2086 # a list of options
        mox perplexity "$DEMO" --text text --json $options
        exits 0
        same "$options" "$(json perplexity)" "$ppl"
    done <<'.'
--seed 5
--ram min
--ram-experts 8
--device cpu:vram=64M --vram-experts 9 --miss split --cuda-graph off
--device cpu:vram=64M --vram 10M
--ctx 100
-c 100
--policy lfu
--ram-experts 8 --margin 1
--ram-experts 12 --layer-shares 112213
--look-ahead off
--threads 1
-t 1
--batch 7
-b 7
--io pread
--io-depth 4
--isa scalar
--verify always
--hugepages off
--record trace
--timings
--live off
--config none
.
    check "--record wrote a trace" test "$(head -c 4 trace)" = MOXT
    mox perplexity "$DEMO" --text text --json --kv q8_0
    differ "--kv" "$(json perplexity)" "$ppl"
    mox perplexity "$DEMO" --text text --json --act f32
    differ "--act" "$(json perplexity)" "$ppl"
    says audit
}

@test "--base: nothing differs from itself; --base-model: little from the audit" {
    text
    mox_in tokenize "$DEMO" <text
    cp out ids
    mox logits "$DEMO" --tokens ids --out l.f32
    mox perplexity "$DEMO" --tokens ids --base l.f32
    exits 0
    prints 'KL(base || model) mean 0.0000e+00, top-1 agreement 1.00000'
    mox perplexity "$DEMO" --tokens ids --base-model "$DEMO" --json
    exits 0
    check "a small divergence" awk -v kl="$(json kl_mean)" 'BEGIN { exit !(kl > 0 && kl < 0.1) }'
    head -c 100 l.f32 >short.f32
    mox perplexity "$DEMO" --tokens ids --base short.f32
    check "a base that is too short fails" test "$rc" -ne 0
}

@test "no text, both, missing files" {
    styled 2 MX-2003 perplexity "$DEMO" --text /dev/null --gpu 0 --device cpu
    styled 2 MX-2002 perplexity "$DEMO"
    text
    mox perplexity "$DEMO" --text text --tokens text
    exits 2
    styled 6 MX-6002 perplexity "$DEMO" --text missing
    styled 6 MX-6002 perplexity "$DEMO" --text text --base missing
    styled 6 MX-6002 perplexity missing.gguf --text text
}
