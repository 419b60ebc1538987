# info: the parts of a file that are asked for, as text and as JSON.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

run info "$DEMO" --json
tensors=$(json tensors)
run info "$DEMO" --tensors
exits 0
same "a line per tensor" "$(wc -l <"$OUT")" "$tensors"
prints '^blk.0.ffn_gate_exps.weight  *Q4_K  *256 x 512 x 8 '
run info "$DEMO" --tensors --json
is_json
same "tensors in the document" "$(json tensor_table | grep -o '"name"' | wc -l)" "$tensors"
total=$(json tensor_table | grep -o '"bytes": *[0-9]*' | tr -dc '0-9\n' | awk '{ s += $1 } END { printf "%d", s }')
check "their bytes are the file's, but for the header" test "$total" -lt "$(stat -c %s "$DEMO")" -a "$total" -gt 12000000
run info "$DEMO" --kv
exits 0
prints '^general.architecture = '
prints '^llama.expert_count = 8$'
run info "$DEMO" --template
has=$rc
if [ "$has" -eq 0 ]; then
    check "the template is text" test -s "$OUT"
else
    exits 3
    says 'no chat template'
fi
run info "$DEMO" --kv --tensors
check "both, one after the other" test "$(wc -l <"$OUT")" -gt "$tensors"
finish
