# Every command does its work, and prints it where it belongs.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
A=$DATA/models/mixtral-a.gguf

# run: the text alone on stdout, the rest on stderr
run run "$DEMO" --raw -p 'It was a bright' -n 24 --ram-experts 40%
exits 0
says 'plan: '
says 'ready in'
says 'tok/s'
cp "$OUT" plain.txt
check "no diagnostics on stdout" sh -c "! grep -q -e moxie: -e 'tok/s' '$OUT'"
check "text was printed" test "$(wc -c <plain.txt)" -gt 10

# --json: same text, counts that add up
run run "$DEMO" --raw -p 'It was a bright' -n 24 --ram-experts 40% --json
exits 0
is_json
same schema "$(json schema)" moxie.run/1
same "uses add up" "$(json hits.uses)" \
    "$(($(json hits.ram.uses) + $(json hits.late.uses) + $(json hits.file.uses)))"
same "phases add up" "$(json hits.uses)" "$(($(json hits_prefill.uses) + $(json hits_decode.uses)))"
same "bytes add up" "$(json bytes_read.total)" \
    "$(($(json bytes_read.fill) + $(json bytes_read.demand) + $(json bytes_read.prefetch)))"
same "uses = tokens x layers x ranks" "$(json hits.uses)" "$(($(json tokens | tr -cd , | wc -c) * 12 + 12))"
same "hash has 32 digits" "$(json logits_xxh3 | tr -d '0-9a-f' | wc -c),$(json logits_xxh3 | wc -c)" 1,33
same "the same text" "$(json text | sed 's/\\n.*//; s/\\"/"/g')" "$(head -1 plain.txt)"
check "actual bytes are the plan's or less" test "$(json actual_bytes)" -le "$(json plan.total_bytes)"

# greedy is reproducible; sampling depends on the seed alone
run run "$DEMO" --raw -p 'It was' -n 16 --temp 0.9 --seed 5 --json
first=$(json new_tokens)
run run "$DEMO" --raw -p 'It was' -n 16 --temp 0.9 --seed 5 --json --threads 1
same "same seed, same tokens" "$(json new_tokens)" "$first"
run run "$DEMO" --raw -p 'It was' -n 16 --temp 0.9 --seed 6 --json
check "another seed, other tokens" test "$(json new_tokens)" != "$first"

# without a model: the demo model, said so
run run --raw -p 'It was a bright' -n 4
exits 0
says 'built-in demo model'
# options in their other forms
run run --raw --prompt='It was a bright' -n24 --ram-experts=40% "$DEMO"
exits 0
check "the same text again" cmp -s "$OUT" plain.txt

# --dry-run: a plan and no text
run run "$DEMO" --dry-run --json --ram min
exits 0
is_json
same schema "$(json schema)" moxie.plan/1
same "the floor is the plan" "$(json plan.total_bytes)" "$(json plan.floor_bytes)"
same "open reserves what the plan says" "$(json actual_bytes)" \
    "$(($(json plan.total_bytes) - $(json plan.process_bytes)))"

run info "$DEMO"
exits 0
prints '8 per layer, 2 used'
prints 'supported: yes'
run info "$DEMO" --json
is_json
same experts "$(json experts_per_layer)" 8

printf 'Once upon a time' >text.txt
"$MOXIE" tokenize "$DEMO" <text.txt >ids.txt 2>"$ERR"
rc=$? last=tokenize
exits 0
check "ids alone on stdout" sh -c "! tr -d '0-9 \n' <ids.txt | grep -q ."
same "BOS first" "$(cut -d' ' -f1 ids.txt)" 1
"$MOXIE" tokenize "$DEMO" --no-bos <text.txt >nobos.txt 2>"$ERR"
same "no BOS" "1 $(cat nobos.txt)" "$(cat ids.txt)"
printf '<s>' | "$MOXIE" tokenize "$DEMO" --no-bos --special >special.txt 2>"$ERR"
same "--special makes control tokens" "$(cat special.txt)" 1
printf '<s>' | "$MOXIE" tokenize "$DEMO" --no-bos >special.txt 2>"$ERR"
check "text never does" test "$(cat special.txt)" != 1

# logits: shape, and the same hash from run, for the same tokens
run logits "$DEMO" --tokens ids.txt --out l.f32 --json
exits 0
is_json
n=$(wc -w <ids.txt)
same "one row per token" "$(wc -c <l.f32)" "$((n * 4096 * 4))"
hash=$(json logits_xxh3)
"$MOXIE" logits "$DEMO" --tokens - --out - <ids.txt >stdout.f32 2>"$ERR"
check "the same bytes through pipes" cmp -s l.f32 stdout.f32
run run "$DEMO" --raw -p 'Once upon a time' -n 1 --all-logits --json
same "run evaluates one token more" "$(json tokens | tr -d '[]' | tr , ' ' | wc -w)" $((n + 1))
run_hash=$(json logits_xxh3)
json tokens | tr -d '[]' | tr , ' ' >more.txt
run logits "$DEMO" --tokens more.txt --json
same "run hashes the logits of its tokens" "$(json logits_xxh3)" "$run_hash"
check "which are others than those of the prompt" test "$hash" != "$run_hash"
echo 1 17 400 >few.txt
run logits "$A" --tokens few.txt --json --act f32
says audit
same "audit mode is marked" "$(json act)" f32

run perplexity "$DEMO" --text text.txt --json
exits 0
is_json
check "a positive perplexity" test "$(json perplexity | cut -d. -f1)" -ge 1
run perplexity "$DEMO" --tokens ids.txt --base l.f32
exits 0
prints 'KL(base || model) mean 0.0000e+00, top-1 agreement 1.00000'

run run "$DEMO" --raw -p 'It was' -n 4 --record trace.bin
exits 0
check "the trace has its magic" sh -c "head -c 4 trace.bin | grep -q MOXT"

# bench: random answers are as many steps as asked for, behind as many prompt tokens
run bench "$DEMO" -p 0 -n 6,0 -d 0,5 -r 2 --tokens-from random --json
exits 0
is_json
same "answers are random ids" "$(json answer_tokens)" random
same "an answer from nothing" "$(json tests.0.name)" "decode 6"
same "an answer behind a prompt" "$(json tests.1.name)" "decode 6 at 5"
same "uses of its steps" "$(json tests.1.hits_decode.uses)" $((6 * 2 * 12))
same "uses of its prompt" "$(json tests.1.hits_prefill.uses)" $((5 * 2 * 12))
# each repetition beside what the machine did around it
same "every repetition is reported" "$(json tests.1.repetitions.1.tok_s | wc -w),$(json tests.1.repetitions.2.tok_s 2>/dev/null | wc -w)" 1,0
check "shares are in order" awk -v a="$(json tests.1.ceiling_share.min)" -v b="$(json tests.1.ceiling_share.median)" \
    -v c="$(json tests.1.ceiling_share.max)" 'BEGIN { exit !(a > 0 && a <= b && b <= c) }'
near=$(json tests.1.ceiling_share.of)
same "the nearest ceiling's share" "$(json tests.1.ceiling_share.median)" "$(json tests.1.ceiling_share.$near.median)"
check "a share is of the rate around its repetition" awk -v s="$(json tests.1.repetitions.0.ram)" \
    -v c="$(json tests.1.repetitions.0.ram_read_bytes_per_s)" -v t="$(json tests.1.repetitions.0.tok_s)" \
    -v b="$(json tests.1.ram.bytes_per_token)" 'BEGIN { e = s * c / (t * b); exit !(e > 0.99 && e < 1.01) }'
run bench "$DEMO" -p 0 -n 6 -d 5 -r 1 --json
same "a sampled answer is one step shorter" "$(json tests.0.hits_decode.uses)" $((5 * 12))
# ceilings before and after, what loading read, operations
for when in before after; do
    check "RAM was read, $when" test "$(json ceilings.$when.ram_read.bytes_per_s | cut -d. -f1 | cut -de -f1)" -ge 1
    check "O_DIRECT reads, $when" test "$(json ceilings.$when.direct_read.request_bytes)" -ge 524288
done
run bench "$DEMO" -p 7 -n 0 -r 1 --ram-experts 8 --json
exits 0
dense=$(json load.dense_bytes) experts=$(json load.expert_bytes)
check "loading read 8 of 48 experts, and edges" test "$experts" -ge 1769472 -a "$experts" -le 2000000
check "and the dense part" test "$dense" -ge 2000000 -a "$dense" -le 3000000
# 6 layers x (Q, O 256 x 256; K, V 256 x 128; 2 experts of 3 x 256 x 512), and one of 7 rows' logits (4096 x 256)
same "integer operations of a prompt's token" "$(json tests.0.integer.ops_per_token | cut -d. -f1)" 12096073
run bench "$DEMO" -p 0 -n 0
exits 2
finish
