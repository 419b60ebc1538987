# What the program writes about itself works: manual pages format without a warning, completion completes.
. "$(dirname "$0")/lib.sh"

run docs written
exits 0
check "a page per command" test -s written/moxie-run.1 -a -s written/moxie.1
check "pages of hidden commands are not written" test ! -e written/moxie-docs.1
if command -v groff >/dev/null; then
    for page in written/moxie.1 written/moxie-run.1; do
        check "$page has no warnings" sh -c "[ -z \"\$(groff -man -Tutf8 -ww -b '$page' 2>&1 >/dev/null)\" ]"
    done
    check "the page reads" sh -c "groff -man -Tascii -P-cbou written/moxie-run.1 | grep -q -- '--ram-experts N|PCT'"
fi
run help --man run
check "help --man is the page" cmp -s "$OUT" written/moxie-run.1
run help --man
check "and without a command the program's" cmp -s "$OUT" written/moxie.1
run help --man nur
exits 2
run completion
exits 2
run completion csh
exits 2
run docs /nonexistent/docs
exits 6

run completion bash
check "the written script is the printed one" cmp -s "$OUT" written/moxie
complete_line() { # WORDS...: what bash offers for the last of them
    bash -c '. written/moxie
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _moxie
        printf "%s\n" "${COMPREPLY[@]}"' - "$@" | sort | tr '\n' ' '
}
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
for shell in zsh fish; do
    if command -v $shell >/dev/null; then
        run completion $shell
        check "$shell takes its script" $shell -n "$OUT"
    else
        echo "$shell is not installed: its script was not tried"
    fi
done
finish
