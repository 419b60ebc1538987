# Sampling options as a user meets them; their distributions are in test_graph_sample.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
answer() { run run "$DEMO" --raw -p 'It was a bright' -n 24 --json "$@"; }

answer
exits 0
plain=$(json text) first=$(json new_tokens | tr -d '[] ' | cut -d, -f1)
# stop: the text up to the string, which is not shown; found wherever tokens end
word=$(printf '%s' "$plain" | awk '{ print $3 }')
rest=$(printf '%s' "$word" | cut -c2-)
for stop in "$word" "$rest"; do
    answer --stop 'never in it' --stop "$stop"
    exits 0
    same "stopped by a string" "$(json stop)" stop
    same "the text before it" "$(json text)" "${plain%%"$stop"*}"
done
answer --stop 'never in it'
same "without it the whole text" "$(json text)" "$plain"
run run "$DEMO" --raw -p 'It was a bright' -n 24 --stop "$word"
check "the same without --json" sh -c "! grep -qF '$word' '$OUT'"
# bias and penalties
answer --logit-bias "$first=-10000"
check "a banned token does not come" sh -c "! printf '%s' '$(json new_tokens | tr -d '[] ')' | tr , '\n' | grep -qx '$first'"
answer --logit-bias "17=10000"
same "a forced one does" "$(json new_tokens | tr -d '[] ' | tr , '\n' | sort -u)" 17
answer --repeat-penalty 100 --penalty-last 256
same "a strong penalty repeats nothing" "$(json new_tokens | tr -d '[] ' | tr , '\n' | sort | uniq -d | wc -l)" 0
answer --temp 1 --seed 3 --typical 0.01
one=$(json new_tokens)
answer --temp 1 --seed 3
check "typical chooses otherwise" test "$one" != "$(json new_tokens)"
for bad in '--typical 2' '--repeat-penalty 0' '--frequency-penalty 3' '--presence-penalty x' '--penalty-last 257' \
    '--logit-bias 17' '--logit-bias x=1' '--logit-bias 1=nan' '--stop '; do
    set -- $bad
    run run "$DEMO" -p x "$1" "${2:-}"
    exits 2
done
finish
