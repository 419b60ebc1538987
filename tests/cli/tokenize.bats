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
