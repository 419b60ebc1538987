# moxie pack: a model in the form that is read fastest. The format itself: tests/pack.
load lib

@test "a packed model gives the same logits, and is never replaced unasked" {
    mox pack "$A" a.moxie --json
    exits 0
    schema moxie.pack/1
    echo 1 17 400 23 >ids
    mox logits "$A" --tokens ids --json
    hash=$(json logits_xxh3)
    mox logits a.moxie --tokens ids --json
    exits 0
    same "the same hash" "$(json logits_xxh3)" "$hash"
    mox pack "$A" a.moxie
    exits 6
    says MX-6005
    says '^try:'
    mox pack "$A" a.moxie --force
    exits 0
}

@test "a full disk leaves nothing behind" {
    rc=0 last='pack with a limit on file sizes'
    (ulimit -f 16; "$BIN" pack "$A" a.moxie) >out 2>err || rc=$?
    exits 6
    says 'MX-6005'
    says 'File too large'
    same "no file, no part of one" "$(find . -name 'a.moxie*')" ""
}

@test "missing words, missing model, a packed model again" {
    styled 2 MX-2002 pack
    styled 2 MX-2002 pack "$A"
    styled 6 MX-6002 pack missing.gguf a.moxie
    printf 'x' >x.gguf
    mox pack x.gguf a.moxie
    exits 3
}
