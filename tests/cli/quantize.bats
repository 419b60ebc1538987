# moxie quantize: a model with smaller weights. Formats, mixes and files: tests/quantize.
load lib

@test "a quantised model runs, and is never replaced unasked" {
    mox quantize "$A" q8.gguf --type Q8_0 --json
    exits 0
    schema moxie.quantize/1
    same "type" "$(json type)" Q8_0
    says 'bits per weight'
    echo 1 17 400 23 >ids
    mox logits q8.gguf --tokens ids --json
    exits 0
    mox quantize "$A" q8.gguf --type Q4_0
    exits 6
    says MX-6005
    says '^try:'
    mox quantize "$A" q8.gguf --type Q4_0 --force
    exits 0
    at_least "F16 is more than Q4_0" "$(stat -c %s "$A")" "$(stat -c %s q8.gguf)"
}

@test "the same bytes from one thread and from three; classes get types of their own" {
    mox quantize "$A" one.gguf --type Q4_0,experts.down=Q8_0 --threads 1
    exits 0
    mox quantize "$A" three.gguf --type Q4_0,experts.down=Q8_0 -t 3
    exits 0
    check "the same file" cmp one.gguf three.gguf
    mox info one.gguf --tensors
    prints 'ffn_down_exps.weight  *Q8_0'
    prints 'ffn_up_exps.weight  *Q4_0'
    prints 'ffn_gate_inp.weight  *F32'
}

@test "a full disk leaves nothing behind" {
    rc=0 last='quantize with a limit on file sizes'
    (ulimit -f 16; "$BIN" quantize "$A" a.gguf --type F16) >out 2>err || rc=$?
    exits 6
    says 'MX-6005'
    same "no file, no part of one" "$(find . -name 'a.gguf*')" ""
}

@test "Ctrl-C leaves nothing behind" {
    "$BIN" quantize "$A" a.gguf --type IQ4_NL >out 2>err &
    kill -INT $! 2>/dev/null || true
    rc=0
    wait $! || rc=$?
    # too late for the signal, or in time
    [ "$rc" -eq 130 ] || [ "$rc" -eq 0 ] || failed "exit code 130 or 0"
    same "no part of a file" "$(find . -name 'a.gguf.part*')" ""
}

@test "missing words, unknown types, weights that are quantised already" {
    styled 2 MX-2002 quantize
    styled 2 MX-2002 quantize "$A" b.gguf
    styled 2 MX-2002 quantize "$A" b.gguf --type Q4_X
    styled 2 MX-2002 quantize "$A" b.gguf --type Q4_0,expert=Q8_0
    styled 6 MX-6002 quantize missing.gguf b.gguf --type Q8_0
    styled 3 MX-3008 quantize "$DATA/models/mixtral-a-q8_0.gguf" b.gguf --type Q4_0
    mox pack "$A" a.moxie
    exits 0
    mox quantize a.moxie b.gguf --type Q8_0
    exits 2
    says 'packed'
    same "nothing was written" "$(find . -name 'b.gguf*')" ""
}
