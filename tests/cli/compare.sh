# bench --compare: the same beside the same passes, a much faster past fails, a past without the test fails.
. "$(dirname "$0")/lib.sh"
A=$DATA/models/mixtral-a.gguf
bench() { run bench "$A" -p 8 -n 4 -r 1 --ctx 64 "$@"; }
past() { # FACTOR: a bench of the past, that much faster
    printf '{"schema": "moxie.bench/1", "tests": [{"name": "prefill 8", "tok_s": {"median": 1e-3}},
        {"name": "decode 4", "tok_s": {"median": %s}}]}\n' "$1" >past.json
}
past 1e-3
bench --compare past.json --fail-below 5 --json
exits 0
is_json
says 'decode 4: .* tok/s, was 0.00: +'
cp "$OUT" now.json
bench --compare now.json
exits 0
says 'prefill 8: .* tok/s, was '
past 1e12
bench --compare past.json --fail-below 99
exits 8
says 'MX-8001'
says 'decode 4: .*too slow'
bench --compare past.json
exits 0
printf '{"schema": "moxie.bench/1", "tests": []}\n' >past.json
bench --compare past.json --fail-below 99
exits 8
printf '{"schema": "moxie.run/1"}\n' >past.json
bench --compare past.json
exits 3
printf '{"schema": \n' >past.json
bench --compare past.json
exits 3
bench --compare missing.json
exits 6
finish
