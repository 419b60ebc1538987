# moxie tokenize: text on stdin, ids on stdout.
load lib

@test "ids alone on stdout, begin token first" {
    printf 'Once upon a time' >text
    mox_in tokenize "$DEMO" <text
    exits 0
    prints_not '[^0-9 ]'
    same "BOS first" "$(cut -d' ' -f1 out)" 1
    cp out ids
    mox_in tokenize "$DEMO" --no-bos <text
    same "--no-bos" "1 $(cat out)" "$(cat ids)"
    mox_in tokenize -m "$DEMO" <text
    check "--model" cmp -s out ids
    mox_in tokenize --model "$DEMO" <text
    check "--model" cmp -s out ids
}

@test "--special: control tokens in the text" {
    printf '<s>' >text
    mox_in tokenize "$DEMO" --no-bos --special <text
    same "--special makes them" "$(cat out)" 1
    mox_in tokenize "$DEMO" --no-bos <text
    differ "text never does" "$(cat out)" 1
}

@test "--config: settings of the file" {
    printf 'no-bos = on\n' >some.conf
    printf 'a' >text
    mox_in tokenize "$DEMO" --config some.conf <text
    exits 0
    prints_not '^1 '
    mox_in tokenize "$DEMO" --config none <text
    prints '^1 '
}

@test "nothing is one token, bytes that are no UTF-8 are tokens too" {
    mox tokenize "$DEMO"
    exits 0
    same "begin token alone" "$(cat out)" 1
    printf '\377\376\0\001' >text
    mox_in tokenize "$DEMO" <text
    exits 0
    at_least "tokens" "$(wc -w <out)" 2
}

@test "missing file, no tokenizer, wrong options" {
    styled 6 MX-6002 tokenize missing.gguf
    styled 2 MX-2002 tokenize "$DEMO" --no-such-option
}

# The ids of the original library, from the reference model's own tests.
@test "byte-level BPE: ids, an answer in text, special tokens" {
    local qwen=$DATA/models/qwen3moe-a.gguf
    printf 'Hello world' >text
    mox_in tokenize "$qwen" <text
    exits 0
    same "ids" "$(cat out)" "39 68 297 78 259 261 75 67"
    printf 'a <|im_end|>\n b' >text
    mox_in tokenize "$qwen" --special <text
    same "special" "$(cat out)" "64 220 359 198 336"
    mox_in tokenize "$qwen" <text
    prints_not 359
    mox run "$qwen" --raw -p 'Hello world' -n 4 --temp 0 --json
    exits 0
    same "the same ids in run" "$(json prompt_tokens)" "[39,68,297,78,259,261,75,67]"
    mox info "$qwen"
    exits 0
    prints '  tokenizer   gpt2, qwen2'
}

@test "a pre-tokenizer that nobody knows, or that the file does not name" {
    sed 's/qwen2/qwen9/' "$DATA/models/qwen3moe-a.gguf" >unknown.gguf
    sed 's/tokenizer.ggml.pre/tokenizer.ggml.xyz/' "$DATA/models/qwen3moe-a.gguf" >unsaid.gguf
    printf 'a' >text
    mox_in tokenize unknown.gguf <text
    exits 3
    says '"qwen9" is unknown.* qwen2 .*MX-3010'
    mox info unknown.gguf
    exits 0
    prints 'tokenizer   not supported: the pre-tokenizer "qwen9"'
    mox run unknown.gguf --raw -p a -n 1
    exits 3
    mox_in tokenize unsaid.gguf <text
    exits 0
    says 'tokenizer.ggml.pre'
}
