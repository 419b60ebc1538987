# moxie docs and moxie help --man: what the program writes about itself works and is in step.
load lib

@test "a page per command that people use, scripts, options.md as in the tree" {
    mox docs written
    exits 0
    check "a page per command" test -s written/moxie-run.1 -a -s written/moxie.1
    check "pages of hidden commands are not written" test ! -e written/moxie-docs.1
    check "docs/options.md is what the program writes" cmp written/options.md "$SOURCE/docs/options.md"
    mox completion bash
    check "the written script is the printed one" cmp -s out written/moxie
    mox help --man run
    check "help --man is the page" cmp -s out written/moxie-run.1
    mox help --man
    check "and without a command the program's" cmp -s out written/moxie.1
}

@test "pages format without a warning" {
    command -v groff >/dev/null || skip "groff is not installed"
    mox docs written
    for page in written/*.1; do
        same "$page" "$(groff -man -Tutf8 -ww -b "$page" 2>&1 >/dev/null)" ""
    done
    check "the page reads" sh -c "groff -man -Tascii -P-cbou written/moxie-run.1 | grep -q -- '--ram-experts N|PCT'"
}

@test "every page has the exit codes" {
    mox docs written
    for page in written/*.1; do
        for code in 0 1 2 3 4 5 6 8 130 141 143; do
            check "$page: $code" grep -q "^\.B $code\$" "$page"
        done
    done
}

@test "wrong folder, wrong page" {
    styled 2 MX-2002 help --man nur
    styled 6 MX-6005 docs /nonexistent/docs
    styled 2 MX-2002 docs
}
