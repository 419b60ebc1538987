# verify: one hash from all ways; another hash is found out. profile export: the table has what the run counted.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
A=$DATA/models/mixtral-a.gguf

run verify "$A" --json
exits 0
is_json
same schema "$(json schema)" moxie.verify/1
same "all the same" "$(json same)" true
hash=$(json logits_xxh3)
same "the first way keeps all" "$(json ways.0.experts_kept)" "$(json ways.0.experts_total)"
same "the third keeps none" "$(json ways.2.experts_kept)" 0
run verify "$A" --expect "$hash"
exits 0
check "at least five ways" test "$(grep -c "^$hash  same" "$OUT")" -ge 5
prints 'scalar'
prints 'pread'
run verify "$DATA/models/mixtral-a-q8_0.gguf" --expect "$hash"
exits 8
says 'MX-8001'
says '^try:'
prints 'DIFFERS'
run verify "$DEMO" --json
exits 0
check "another model, another hash" test "$(json logits_xxh3)" != "$hash"

# profile export
run run "$DEMO" --raw -p 'It was a bright' -n 12 --ram-experts 40% --record run.trace --json
exits 0
uses=$(json hits.uses) ram=$(json hits.ram.uses) file=$(json hits.file.uses) late=$(json hits.late.uses)
decode=$(json hits_decode.uses)
run profile export --csv run.trace
exits 0
same "its head" "$(head -1 "$OUT")" step,phase,sequence,position,layer,rank,expert,weight,tier
rows() { sed 1d "$OUT" | grep -c "$1"; }
same "a row per use" "$(rows .)" "$uses"
same "those from RAM" "$(rows ',ram$')" "$ram"
same "those from the file" "$(rows ',file$')" "$file"
same "those that came late" "$(rows ',late$')" "$late"
same "those of the answer" "$(rows ',decode,')" "$decode"
check "numbers in range" awk -F, 'NR > 1 && !($5 < 6 && $6 < 2 && $7 < 8 && $8 > 0 && $8 <= 1) { exit 1 }' "$OUT"
check "weights of a use sum to 1" awk -F, 'NR > 1 { s[$1 "," $4 "," $5] += $8 } END { for (k in s) if (s[k] < 0.999 || s[k] > 1.001) exit 1 }' "$OUT"
run profile export --csv run.trace -o run.csv
exits 0
stdout_empty
same "the same in a file" "$(wc -l <run.csv)" $((uses + 1))
run profile export run.trace
exits 2
run profile import
exits 2
run profile export --csv missing.trace
exits 6
run profile export --csv "$DEMO"
exits 3
finish
