# moxie completion: scripts that complete what the tables have.
load lib

complete_line() { # WORDS...: what bash offers for the last of them
    bash -c '. ./moxie-completion
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _moxie
        printf "%s\n" "${COMPREPLY[@]}"' - "$@" | sort | tr '\n' ' '
}

@test "bash completes commands, options, choices, files" {
    mox completion bash
    exits 0
    cp out moxie-completion
    touch a.gguf b.txt
    same "commands" "$(complete_line moxie per)" "perplexity "
    same "options" "$(complete_line moxie run --ram)" "--ram --ram-experts "
    same "choices" "$(complete_line moxie run --kv q)" "q8_0 "
    same "choices of a short option" "$(complete_line moxie bench -n '')" " "
    same "words" "$(complete_line moxie config '')" "path show "
    same "models" "$(complete_line moxie info a)" "a.gguf "
    same "no other file as a model" "$(complete_line moxie info b)" " "
    same "files where files are meant" "$(complete_line moxie logits --tokens b)" "b.txt "
    same "an option of another command is not offered" "$(complete_line moxie info --ram)" " "
}

@test "every shell that is here takes its script" {
    for shell in bash zsh fish; do
        mox completion $shell
        exits 0
        check "$shell: a script" test -s out
        if command -v $shell >/dev/null; then
            check "$shell takes it" $shell -n out
        fi
    done
}

@test "other shells are refused" {
    styled 2 MX-2002 completion csh
    styled 2 MX-2002 completion
    styled 2 MX-2002 completion bsh
    says 'did you mean bash?'
}
