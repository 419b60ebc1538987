# moxie info: what is in a file, as text and as JSON, and the parts that are asked for.
load lib

@test "text: experts, support, sizes" {
    mox info "$DEMO"
    exits 0
    prints '8 per layer, 2 used'
    prints 'supported: yes'
}

@test "--json: the same numbers" {
    mox info "$DEMO" --json
    exits 0
    schema moxie.info/1
    same experts "$(json experts_per_layer)" 8
    mox info -m "$A" --json
    same "--model" "$(json model)" "$A"
    mox info --model="$A" --json=on
    same "--model=" "$(json model)" "$A"
}

@test "each type, and how it is computed with" {
    mox info "$DATA/models/quantmix-a.gguf"
    exits 0
    prints 'Q4_K  *[0-9]* tensors, .*: int8 activations, a scale per 256'
    prints 'Q8_0  *[0-9]* tensors, .*: int8 activations, a scale per 32'
    prints 'IQ2_XS  *[0-9]* tensors, .*: f32 activations'
}

@test "a model that is not supported: what it is, and why not" {
    sed 's/olmoe/olmox/g' "$DATA/models/olmoe-a.gguf" >other.gguf
    mox info other.gguf
    exits 3
    says 'MX-3009'
    prints 'olmox · [0-9.]* M parameters'
    prints 'F16  *[0-9]* tensors'
    prints "^supported: no: model: architecture 'olmox' is not supported"
    mox info other.gguf --json
    exits 3
    is_json
    same supported "$(json supported)" false
    sed 's/blk.1.attn_q.weight/blk.1.attn_x.weight/' "$DATA/models/olmoe-a.gguf" >lacks.gguf
    mox info lacks.gguf
    exits 3
    prints "^supported: no: .*'blk.1.attn_q.weight' is missing"
    sed 's/blk.1.ffn_norm.weight/blk.1.ffn_norms.scale/' "$DATA/models/olmoe-a.gguf" >factors.gguf
    mox info factors.gguf
    exits 3
    prints "^supported: no: .*'blk.1.ffn_norms.scale': factors of whole matrices"
    mox info "$DATA/models/deepseek3-a.gguf"
    exits 0
    prints 'KV per token: f16 288 B, q8_0 impossible, f32 576 B'
}

@test "--tensors: a line per tensor, bytes that add up to the file" {
    mox info "$DEMO" --json
    tensors=$(json tensors)
    mox info "$DEMO" --tensors
    exits 0
    same "a line per tensor" "$(wc -l <out)" "$tensors"
    prints '^blk.0.ffn_gate_exps.weight  *Q4_K  *256 x 512 x 8 '
    mox info "$DEMO" --tensors --json
    is_json
    same "tensors in the document" "$(json tensor_table | grep -o '"name"' | wc -l)" "$tensors"
    total=$(json tensor_table | grep -o '"bytes": *[0-9]*' | tr -dc '0-9\n' | awk '{ s += $1 } END { printf "%d", s }')
    check "their bytes are the file's, but for the header" test "$total" -lt "$(stat -c %s "$DEMO")" -a "$total" -gt 12000000
    mox info "$DEMO" --kv --tensors
    check "both, one after the other" test "$(wc -l <out)" -gt "$tensors"
}

@test "--kv: every key" {
    mox info "$DEMO" --kv
    exits 0
    prints '^general.architecture = '
    prints '^llama.expert_count = 8$'
}

@test "--template: the chat template, or exit code 3" {
    mox info "$DEMO" --template
    if [ "$rc" -eq 0 ]; then
        check "the template is text" test -s out
    else
        exits 3
        says 'no chat template'
    fi
    styled 3 MX-3006 info "$A" --template
}

@test "any part of a split model, and its folder, is the model" {
    for part in 1 2 3; do
        mox info "$DATA/models/mixtral-a-split-0000$part-of-00003.gguf" --json
        exits 0
        same files "$(json files)" 3
    done
    mkdir folder
    cp "$DATA"/models/mixtral-a-split-*.gguf folder
    mox info folder --json
    same files "$(json files)" 3
    rm folder/*00002*
    styled 3 MX-3011 info folder
}

@test "--config and settings" {
    printf 'json = on\n' >some.conf
    mox info "$DEMO" --config some.conf
    exits 0
    is_json
    mox info "$DEMO" --config none
    prints 'supported: yes'
    styled 6 MX-6002 info "$DEMO" --config missing.conf
}

@test "missing file, no model, wrong options" {
    styled 6 MX-6002 info missing.gguf
    head -c 4096 /dev/zero >zero.gguf
    styled 3 MX-3003 info zero.gguf
    styled 2 MX-2002 info "$DEMO" --ram 1G
    says 'info has no option --ram'
    styled 2 MX-2002 info "$DEMO" "$A"
    says 'takes one model'
}
