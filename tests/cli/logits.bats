# moxie logits: logits of given tokens, as a file and as a hash.
load lib

ids() { echo 1 17 400 23 99 5 300 >ids; }

@test "--out and --tokens: one row of f32 per token, through files and pipes" {
    ids
    mox logits "$DEMO" --tokens ids --out l.f32 --json
    exits 0
    schema moxie.logits/1
    same "one row per token" "$(wc -c <l.f32)" $((7 * 4096 * 4))
    mox_in logits "$DEMO" --tokens - -o - <ids
    exits 0
    check "the same bytes through pipes" cmp -s l.f32 out
    mox logits "$DEMO" --tokens ids -o -  --json
    exits 2
    says MX-2003
}

@test "one hash whatever the options of the engine" {
    ids
    mox logits "$A" --tokens ids --json
    hash=$(json logits_xxh3)
    same "digits" "${#hash}" 32
    while read -r options; do
        # shellcheck disable=SC2086 # a list of options
        mox logits "$A" --tokens ids --json $options
        exits 0
        same "$options" "$(json logits_xxh3)" "$hash"
    done <<'.'
--seed 5
--ram min
--ram-experts 25%
--ctx 64
-c 64
--policy lru
--margin 1
--ram-experts 25% --layer-shares 12
--look-ahead off
--threads 1
-t 1
--batch 2
-b 3
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
    mox logits -m "$A" --tokens ids --json
    same "-m" "$(json logits_xxh3)" "$hash"
    mox logits --model "$A" --tokens ids --json
    same "--model" "$(json logits_xxh3)" "$hash"
}

@test "--kv and --act change the numbers, and say so" {
    ids
    mox logits "$DEMO" --tokens ids --json
    hash=$(json logits_xxh3)
    mox logits "$DEMO" --tokens ids --json --kv q8_0
    differ "--kv q8_0" "$(json logits_xxh3)" "$hash"
    mox logits "$DEMO" --tokens ids --json --act f32
    says audit
    same "audit mode is marked" "$(json act)" f32
    differ "--act f32" "$(json logits_xxh3)" "$hash"
}

@test "wrong tokens, missing files, outputs that cannot be made" {
    echo 1 99999999 >ids
    styled 2 MX-2005 logits "$DEMO" --tokens ids --json
    echo 1 abc >ids
    styled 2 MX-2005 logits "$DEMO" --tokens ids --json
    printf '1 a\033[2Jb\n2\n' >ids
    styled 2 MX-2005 logits "$DEMO" --tokens ids --json
    check 'escapes are shown, not sent' sh -c "! grep -q \$(printf '\033') err"
    styled 6 MX-6002 logits "$DEMO" --tokens missing --json
    styled 2 MX-2002 logits "$DEMO"
    ids
    mox logits "$DEMO" --tokens ids --out /nonexistent/dir/x.f32
    exits 6
    says MX-6005
}

@test "a device that the CPU plays changes no number, and says what its memory is for" {
    ids
    mox logits "$DEMO" --tokens ids --json
    hash=$(json logits_xxh3)
    mox logits "$DEMO" --tokens ids --json --device cpu:vram=64M --vram-experts 25% --miss copy --ram-experts 40%
    same "--miss copy" "$(json logits_xxh3)" "$hash"
    same "experts" "$(json plan.experts_in_vram)" 12
    same "all uses" "$(json hits.uses)" \
        $(($(json hits.vram.uses) + $(json hits.ram.uses) + $(json hits.late.uses) + $(json hits.file.uses)))
    same "nothing is computed on the CPU" "$(json vram.cpu)" 0
    mox logits "$DEMO" --tokens ids --json --device cpu:vram=64M,n=2 --vram 9M --miss split
    same "--miss split" "$(json logits_xxh3)" "$hash"
    styled 2 MX-2002 logits "$DEMO" --tokens ids --json --device cpu:vram
    styled 5 MX-5001 logits "$DEMO" --tokens ids --json --device cuda
    says '--device cpu'
    styled 4 MX-4001 logits "$DEMO" --tokens ids --json --device cpu:vram=64M --vram 1K
}

@test "--cuda-graph: steps of one token as graphs or call by call, one answer" {
    ids
    mox logits "$DEMO" --tokens ids --json
    hash=$(json logits_xxh3)
    mox logits "$DEMO" --tokens ids --json --device cpu:vram=64M --cuda-graph auto
    same "a device without graphs" "$(json logits_xxh3)" "$hash"
    refuses logits --cuda-graph on
    [ -e "$(dirname "$MOXIE")/moxie-dev-emu.so" ] || return 0
    mox logits "$DEMO" --tokens ids --json --device emu --batch 1
    same "graphs" "$(json logits_xxh3)" "$hash"
    says 'steps of one token: [0-9]* graphs'
    mox logits "$DEMO" --tokens ids --json --device emu --batch 1 --cuda-graph off
    same "call by call" "$(json logits_xxh3)" "$hash"
    says_not 'steps of one token'
}

# Here without a module or a driver; which GPUs a list picks: tests/dev.
@test "--gpu means a GPU that is there; beside --device cpu the nearer one counts" {
    ids
    styled 5 MX-5001 logits "$DEMO" --tokens ids --json --gpu 0
    says '--device cpu'
    styled 2 MX-2003 logits "$DEMO" --tokens ids --json --gpu 0 --device cpu
    says '--device cuda --gpu 0'
    mox logits "$DEMO" --tokens ids --json
    hash=$(json logits_xxh3)
    MOXIE_GPU=0 mox logits "$DEMO" --tokens ids --json --device cpu
    same "the GPU of the environment is not used" "$(json logits_xxh3)" "$hash"
    [ -e "$(dirname "$MOXIE")/moxie-dev-emu.so" ] || return 0
    styled 5 MX-5001 logits "$DEMO" --tokens ids --json --device emu:n=2 --gpu 1,2
    says 'no GPU has this id; there are 0 (GPU-'
    styled 2 MX-2002 logits "$DEMO" --tokens ids --json --device emu:n=2 --gpu 1,1
}
