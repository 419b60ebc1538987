# moxie bench: what is measured is what was asked for; shares, ceilings, comparisons. Speeds themselves are not tested.
load lib

@test "answers from random ids: as many steps as asked for, behind as many prompt tokens" {
    mox bench "$DEMO" -p 0 -n 6,0 -d 0,5 -r 2 --tokens-from random --json
    exits 0
    schema moxie.bench/1
    same "answers are random ids" "$(json answer_tokens)" random
    same "an answer from nothing" "$(json tests.0.name)" "decode 6"
    same "an answer behind a prompt" "$(json tests.1.name)" "decode 6 at 5"
    same "uses of its steps" "$(json tests.1.hits_decode.uses)" $((6 * 2 * 12))
    same "uses of its prompt" "$(json tests.1.hits_prefill.uses)" $((5 * 2 * 12))
    # ceilings before and after
    for when in before after; do
        at_least "RAM was read, $when" "$(json ceilings.$when.ram_read.bytes_per_s)" 1e6
        at_least "O_DIRECT reads, $when" "$(json ceilings.$when.direct_read.request_bytes)" 524288
    done
    # each repetition beside what the machine did around it
    at_least "every repetition is reported" "$(json tests.1.repetitions.1.tok_s)" 0.001
    check "and no more" sh -c "! '$JSONQ' out tests.1.repetitions.2.tok_s"
    check "shares are in order" awk -v a="$(json tests.1.ceiling_share.min)" -v b="$(json tests.1.ceiling_share.median)" \
        -v c="$(json tests.1.ceiling_share.max)" 'BEGIN { exit !(a > 0 && a <= b && b <= c) }'
    near=$(json tests.1.ceiling_share.of)
    same "the nearest ceiling's share" "$(json tests.1.ceiling_share.median)" "$(json "tests.1.ceiling_share.$near.median")"
    check "a share is of the rate around its repetition" awk -v s="$(json tests.1.repetitions.0.ram)" \
        -v c="$(json tests.1.repetitions.0.ram_read_bytes_per_s)" -v t="$(json tests.1.repetitions.0.tok_s)" \
        -v b="$(json tests.1.ram.bytes_per_token)" 'BEGIN { e = s * c / (t * b); exit !(e > 0.99 && e < 1.01) }'
}

@test "sampled answers, operations, what loading read" {
    mox bench "$DEMO" --prefill 7 --decode 6 --depth 5 --reps 1 --ram-experts 8 --json
    exits 0
    same "prompts" "$(json prompt_tokens)" random
    # 6 layers x (Q, O 256 x 256; K, V 256 x 128; 2 experts of 3 x 256 x 512), and one of 7 rows' logits (4096 x 256)
    same "integer operations of a prompt's token" "$(json tests.0.integer.ops_per_token | cut -d. -f1)" 12096073
    same "a sampled answer is one step shorter" "$(json tests.1.hits_decode.uses)" $((5 * 12))
    dense=$(json load.dense_bytes) experts=$(json load.expert_bytes)
    check "loading read 8 of 48 experts, and edges" test "$experts" -ge 1769472 -a "$experts" -le 2000000
    check "and the dense part" test "$dense" -ge 2000000 -a "$dense" -le 3000000
}

@test "the table on stdout, progress on stderr; --text" {
    printf 'Once upon a time there was a king who had three sons.' >text
    mox bench "$A" -p 3 -n 2 -d 0,4 -r 1 --text text
    exits 0
    prints '^| prefill 3 | '
    prints '^| decode 2 at 4 | '
    prints 'prompts are text'
    prints '^ceilings, before and after: RAM read '
    prints '^the machine then: '
    says '^moxie: prefill 3: [0-9.]* tok/s (1 of 1)$'
    says '^moxie: decode 2 at 4: [0-9.]* tok/s (1 of 1)$'
    mox bench "$A" -p 500 -n 0 -r 1 --text text --ctx 600
    exits 2
    says 'the longest test wants 500'
}

@test "a slow disk is named before loading, with the speed to expect" {
    # 8 of 48 experts stay: a token uses 12, of which 5/6 are read: 2.2 MB of 221184 bytes each
    mox bench "$DEMO" -p 0 -n 2 -r 1 --ram-experts 8 --io-limit 2M
    exits 0
    says 'warning: .*the disk is slow, reads at 2 MB/s: loading takes about 2 s, an answer reads about 2\.[12] MiB per token: 0.9[0-9] tok/s'
    before=$(grep -n 'the disk is slow' err | cut -d: -f1) ready=$(grep -n 'ready in' err | cut -d: -f1)
    check "before loading" test "$before" -lt "$ready"
}

@test "the same tokens whatever the options of the engine" {
    mox bench -m "$A" -p 0 -n 2 -r 1 --json --seed 5 --ram min --ctx 32 --kv f32 --policy lru --margin 1 --layer-shares 12 --look-ahead off \
        --threads 1 --batch 8 --io pread --io-depth 4 --isa scalar --verify always --act f32 --hugepages off \
        --shuffle-predictions --record trace --timings --live off --config none
    exits 0
    same "--kv" "$(json plan.kv)" f32
    same "--ctx" "$(json plan.ctx)" 32
    same "--batch" "$(json plan.batch)" 8
    same "--threads" "$(json plan.threads)" 1
    same "--policy" "$(json policy)" lru
    same "--look-ahead" "$(json look_ahead)" off
    same "--act" "$(json act)" f32
    same "--ram min" "$(json plan.experts_kept)" 0
    same "--shuffle-predictions" "$(json shuffle_predictions)" true
    check "--isa" sh -c "'$JSONQ' out device | grep -q scalar"
    check "--io" sh -c "'$JSONQ' out io | grep -q pread"
    check "--record wrote a trace" test "$(head -c 4 trace)" = MOXT
    mox bench --model "$A" -p 0 -n 2 -r 1 -c 32 -t 1 -b 8 --json
    exits 0
    same "short forms" "$(json plan.ctx) $(json plan.threads) $(json plan.batch)" "32 1 8"
}

@test "--replay-routing: experts as recorded, whatever the router says" {
    # nine tokens that all use experts 3 and 5 of each layer
    { echo layer,expert
      for t in 1 2 3 4 5 6 7 8 9; do for l in 0 1 2 3 4 5; do printf '%d,3\n%d,5\n' $l $l; done; done; } >two.csv
    mox profile import two.csv --out two.trace
    exits 0
    mox bench "$DEMO" -p 5 -n 3 -r 1 --replay-routing two.trace --record run.trace --json
    exits 0
    same "--replay-routing" "$(json routing_replayed)" true
    same "no look-ahead, since nobody asks the router" "$(json look_ahead)" off
    mox profile export --csv run.trace
    same "experts that were used" "$(awk -F, 'NR > 1 { print $7 }' out | sort -u | xargs)" "3 5"
    mox bench "$DEMO" -p 3 -n 0 -r 1 --replay-routing two.trace
    prints '^experts as recorded in two.trace, not as the router says'
    # of another model, not whole, none
    styled 2 MX-2003 bench "$A" -p 3 -r 1 --replay-routing two.trace
    says 'was recorded with 6 layers of'
    sed '13,14d' two.csv >cut.csv
    mox profile import cut.csv --out cut.trace
    styled 3 MX-3001 bench "$DEMO" -p 3 -r 1 --replay-routing cut.trace
    styled 6 MX-6002 bench "$DEMO" -p 3 -r 1 --replay-routing missing.trace
}

past() { # FACTOR: a bench of the past, that much faster
    printf '{"schema": "moxie.bench/1", "tests": [{"name": "decode 2", "tok_s": {"median": %s}}]}\n' "$1" >past.json
}
small() { mox bench "$A" -p 0 -n 2 -r 1 --ctx 16 "$@"; }

@test "--compare and --fail-below: the same passes, a much faster past fails" {
    past 1e-3
    small --compare past.json --fail-below 5 --json
    exits 0
    is_json
    says 'decode 2: .* tok/s, was 0.00: +'
    past 1e12
    small --compare past.json --fail-below 99
    exits 8
    says 'MX-8001'
    says 'decode 2: .*too slow'
    small --compare past.json
    exits 0
}

@test "--compare: a past without the test, of another kind, broken, missing" {
    printf '{"schema": "moxie.bench/1", "tests": []}\n' >past.json
    small --compare past.json --fail-below 99
    exits 8
    # found out before minutes of measuring
    printf '{"schema": "moxie.run/1"}\n' >past.json
    styled 3 MX-3001 bench "$A" --compare past.json
    says_not 'measuring'
    printf '{"schema": \n' >past.json
    styled 3 MX-3001 bench "$A" --compare past.json
    styled 6 MX-6002 bench "$A" --compare missing.json
}

@test "nothing to measure, wrong lists" {
    styled 2 MX-2002 bench "$DEMO" -p 0 -n 0
    refuses bench --prefill x 1,,2 -1
    refuses bench --decode 99999999
    refuses bench --reps 0 101 x
    refuses bench --io-limit 12 12X
    refuses bench --tokens-from text
    styled 2 MX-2003 bench "$DEMO" --gpu 0 --device cpu
    refuses bench --fail-below -1 101
}

@test "a device that the CPU plays: experts in VRAM are counted apart" {
    mox bench "$DEMO" -p 8 -n 4 -r 1 --device cpu:vram=64M --vram-experts 100% --miss cpu --cuda-graph off --json
    exits 0
    same "all are there" "$(json plan.experts_in_vram)" 48
    same "and used there" "$(json tests.1.hits_decode.vram.uses)" "$(json tests.1.hits_decode.uses)"
    mox bench "$DEMO" -p 8 -n 4 -r 1 --device cpu:vram=64M --vram 4M --json
    exits 0
}
