# moxie verify: one hash from all ways of running a model here; another hash is found out.
load lib

@test "all ways agree, with and without --json; --expect" {
    mox verify "$A" --json
    exits 0
    schema moxie.verify/1
    same "all the same" "$(json same)" true
    hash=$(json logits_xxh3)
    same "the first way keeps all" "$(json ways.0.experts_kept)" "$(json ways.0.experts_total)"
    same "the third keeps none" "$(json ways.2.experts_kept)" 0
    mox verify -m "$A" --expect "$hash" --config none
    exits 0
    at_least "ways" "$(grep -c "^$hash  same" out)" 5
    prints 'scalar'
    prints 'pread'
    mox verify --model "$DATA/models/mixtral-a-q8_0.gguf" --expect "$hash"
    exits 8
    says 'MX-8001'
    says '^try:'
    prints 'DIFFERS'
}

@test "missing file, wrong options" {
    styled 6 MX-6002 verify missing.gguf
    styled 2 MX-2002 verify "$A" --ram 1G
}
