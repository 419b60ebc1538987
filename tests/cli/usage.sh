# Wrong use: named, with the nearest right thing, exit code 2, nothing on stdout.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

run --help
exits 0
prints perplexity
fits() { check "$1 fits a screen of 24 x 80" sh -c "[ \$(wc -l <'$OUT') -le 24 ] && ! grep -qE '.{81}' '$OUT'"; }
fits "program help"
commands=$(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' "$OUT" | grep -v '^moxie$')
check "program help lists the commands" test "$(echo "$commands" | wc -w)" -ge 7
run --version
exits 0
prints '^moxie [0-9]'
for command in $commands; do
    run $command --help-all
    exits 0
    n=$(wc -l <"$OUT")
    run help $command
    same "help $command is --help-all" "$(wc -l <"$OUT")" "$n"
    run $command -h
    exits 0
    fits "$command help"
    check "$command examples come first" sh -c "head -1 '$OUT' | grep -q moxie"
done

run rnu
exits 2
says 'did you mean run'
stdout_empty
run "$DEMO"
exits 2
says 'moxie run'
run run "$DEMO" -p x --rma 1G
exits 2
says 'did you mean --ram?'
says 'MX-2002'
stdout_empty
run run "$DEMO" -p x --look-ahed off
says 'did you mean --look-ahead?'
run info "$DEMO" --ram 1G
exits 2
says 'info has no option --ram'
run run "$DEMO" -p x --ram 512
exits 2
says 'need a unit'
says '^try:'
for bad in 12X 12GB -1G G 1e400G 'nan' '12 G' 101% 0%; do
    run run "$DEMO" -p x "--ram=$bad"
    exits 2
done
run run "$DEMO" -p x --ram 1G --ram-experts 40%
exits 2
says 'exclude each other'
for bad in '--threads 0' '--threads 257' '--batch 0' '--ctx x' '--kv f64' '--io mmap' '--policy best' \
    '--isa sse' '--temp -1' '--top-p 2' '--look-ahead maybe' '--act f16' '--ram-experts -3' '--seed 1.5'; do
    run run "$DEMO" -p x $bad
    exits 2
    stdout_empty
done
run run "$DEMO" -p
exits 2
says 'needs a value'
run run "$DEMO"
exits 2
says 'needs a text'
run run "$DEMO" other.gguf -p x
exits 2
run run "$DEMO" -p x --json=yes
exits 2
run logits "$DEMO"
exits 2
run perplexity "$DEMO"
exits 2
finish
