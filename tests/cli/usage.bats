# The program itself: help, versions, misspelt commands, options and values; wrong use is named, with the nearest
# right thing, exit code 2 and nothing on stdout.
load lib

fits() { check "$1 fits a screen of 24 x 80" sh -c "[ \$(wc -l <out) -le 24 ] && ! grep -qE '.{81}' out"; }
commands() { "$BIN" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' | grep -v '^moxie$'; }

@test "help of the program: one screen, all commands; versions" {
    for word in --help -h help ''; do
        # shellcheck disable=SC2086 # nothing is a word too
        mox $word
        exits 0
        prints perplexity
        fits "program help"
    done
    at_least "commands" "$(commands | wc -w)" 10
    mox --version
    exits 0
    prints '^moxie [0-9]'
}

@test "help of every command: one screen with examples first, --help-all has the rest" {
    for command in $(commands); do
        mox "$command" --help-all
        exits 0
        n=$(wc -l <out)
        mox help "$command"
        same "help $command is --help-all" "$(wc -l <out)" "$n"
        mox "$command" --help
        exits 0
        cp out help
        mox "$command" -h
        check "-h is --help" cmp -s out help
        fits "$command help"
        check "$command: examples come first" sh -c 'head -1 out | grep -q moxie'
    done
}

@test "misspelt commands, and models in their place" {
    styled 2 MX-2002 rnu
    says 'did you mean run?'
    styled 2 MX-2002 perplexty
    says 'did you mean perplexity?'
    styled 2 MX-2002 xyzzy
    says 'unknown command xyzzy'
    styled 2 MX-2002 "$DEMO"
    says 'moxie run'
}

@test "misspelt options" {
    styled 2 MX-2002 run "$DEMO" -p x --rma 1G
    says 'did you mean --ram?'
    styled 2 MX-2002 run "$DEMO" -p x --look-ahed off
    says 'did you mean --look-ahead?'
    styled 2 MX-2002 run "$DEMO" -p x -Z
    says 'unknown option -Z'
    for command in run info tokenize logits perplexity bench doctor verify pack profile config explain completion; do
        styled 2 MX-2002 "$command" --no-such-option
        says 'unknown option --no-such-option'
    done
}

@test "every option says which of its choices was meant" {
    # the second character is doubled: "static" -> "sttatic"
    while IFS='|' read -r option choices; do
        for choice in $choices; do
            [ "${#choice}" -ge 3 ] || continue
            wrong=${choice:0:2}${choice:1}
            mox config show --config none "$option" "$wrong"
            [ "$rc" -ne 0 ] || continue
            exits 2
            says "not one of the choices; did you mean $choice?"
        done
    done < <(sed -n 's/^| \(`-[a-z]`, \)\?`\(--[a-z-]*\) \([^`]*\\|[^`]*\)` | `MOXIE_.*/\2|\3/p' "$SOURCE/docs/options.md" |
        sed 's/\\|/ /g; /SIZE/d; /PCT/d')
}

@test "misspelt model files" {
    mkdir models
    ln -s "$A" models/mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf
    styled 6 MX-6002 info models/mixtral-8x7b-instruct-v0.1.Q4_KM.gguf
    says '^try:  did you mean models/mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf?'
    (cd models && "$BIN" info mixtral-8x7-instruct-v0.1.Q4_K_M.gguf) 2>err || true
    says 'did you mean mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf?'
    styled 6 MX-6002 info models/llama.gguf
    says_not 'did you mean'
}

@test "values: units, ranges, exclusions" {
    styled 2 MX-2002 run "$DEMO" -p x --ram 512
    says 'need a unit'
    says '^try:'
    for bad in 12X 12GB -1G G 1e400G nan '12 G' 101% 0%; do
        styled 2 MX-2002 run "$DEMO" -p x "--ram=$bad"
    done
    styled 2 MX-2003 run "$DEMO" -p x --ram 1G --ram-experts 40%
    says 'exclude each other'
    styled 2 MX-2002 run "$DEMO" -p
    says 'needs a value'
    styled 2 MX-2002 run "$DEMO" -p x --json=yes
    for bad in '--threads 0' '--threads 257' '--batch 0' '--ctx x' '--kv f64' '--io mmap' '--policy best' \
        '--isa sse' '--look-ahead maybe' '--act f16' '--ram-experts -3' '--seed 1.5' '--verify never' \
        '--hugepages on' '--config'; do
        # shellcheck disable=SC2086 # an option and its value
        styled 2 MX-2002 run "$DEMO" -p x $bad
    done
}
