# moxie profile: the table has what the run counted, and reports have what the table has.
load lib

@test "export --csv: a row per use, with its tier" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 12 --ram-experts 40% --record run.trace --json
    exits 0
    uses=$(json hits.uses) ram=$(json hits.ram.uses) file=$(json hits.file.uses) late=$(json hits.late.uses)
    decode=$(json hits_decode.uses)
    mox profile export --csv run.trace
    exits 0
    same "its head" "$(head -1 out)" step,phase,sequence,position,layer,rank,expert,weight,tier
    rows() { sed 1d out | grep -c "$1" || true; }
    same "a row per use" "$(rows .)" "$uses"
    same "those from RAM" "$(rows ',ram$')" "$ram"
    same "those from the file" "$(rows ',file$')" "$file"
    same "those that came late" "$(rows ',late$')" "$late"
    same "those of the answer" "$(rows ',decode,')" "$decode"
    check "numbers in range" awk -F, 'NR > 1 && !($5 < 6 && $6 < 2 && $7 < 8 && $8 > 0 && $8 <= 1) { exit 1 }' out
    check "weights of a use sum to 1" awk -F, \
        'NR > 1 { s[$1 "," $4 "," $5] += $8 } END { for (k in s) if (s[k] < 0.999 || s[k] > 1.001) exit 1 }' out
    cp out table
    for where in '-o run.csv' '--out run.csv'; do
        rm -f run.csv
        # shellcheck disable=SC2086
        mox profile export --csv run.trace $where
        exits 0
        stdout_empty
        check "the same in a file" cmp -s run.csv table
    done
    mox profile export --csv run.trace -o -
    check "and through -" cmp -s out table
    mox profile export --csv run.trace -o /dev/full
    exits 6
    says '/dev/full cannot be written: No space left on device'
    mox profile export --csv run.trace -o /nonexistent/x.csv
    exits 6
}

@test "wrong words, missing and broken traces" {
    styled 2 MX-2002 profile
    styled 2 MX-2002 profile export run.trace
    styled 2 MX-2002 profile import
    styled 2 MX-2002 profile report
    styled 6 MX-6002 profile export --csv missing.trace
    mox profile export --csv "$DEMO"
    exits 3
    head -c 10 "$DEMO" >short
    mox profile export --csv short
    exits 3
}

@test "report: the seven questions, files, and rates that a recount gives" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 100 --ram-experts 50% --policy dlfu --record run.trace --json
    exits 0
    mox profile report run.trace --model "$DEMO" --ram-experts 50% --gpu-spec gen4 --out run1
    exits 0
    for q in 1 2 3 4 5 6 7; do prints "^$q\. "; done
    prints 'dlfu gets .* % of what is possible'
    prints '  <- now'
    mox profile report run.trace -m "$DEMO" --ram-experts 50% --gpu-spec gen4 --json -o run2
    exits 0
    schema moxie.profile/1
    check "the same file" cmp -s out run2/profile.json
    mox profile export --csv run.trace
    cp out table
    for tier in ram late file; do
        same "$tier" "$(json "served.answer.$tier" run2/profile.json)" "$(grep -c ",decode,.*,$tier\$" table || true)"
    done
    same "uses of layer 0" "$(json layers.0.uses run2/profile.json)" "$(awk -F, '$5 == 0' table | wc -l)"
    same "uses of expert 3 in layer 2" "$(json layers.2.uses_by_expert.3 run2/profile.json)" "$(awk -F, '$5 == 2 && $7 == 3' table | wc -l)"
    same "experts.csv adds up" "$(awk -F, 'NR > 1 { n += $3 } END { print n }' run2/experts.csv)" "$(sed 1d table | wc -l)"
    same "stacks.folded adds up" "$(awk '{ n += $NF } END { print n }' run2/stacks.folded)" "$(sed 1d table | wc -l)"
    # every rate of every size, counted again
    "$RECOUNT" table 6 8 >rates
    while read -r q lru lfu dlfu static belady; do
        for policy in lru lfu static belady; do
            same "$policy with $q" "$(printf %.6f "$(json "curve.$q.$policy" run2/profile.json)")" "${!policy}"
        done
        # heat is summed in another order there: two experts with the same heat may change places
        check "dlfu with $q" awk -v a="$(json "curve.$q.dlfu" run2/profile.json)" -v b="$dlfu" 'BEGIN { exit !((a - b) ^ 2 < 0.003 ^ 2) }'
    done <rates
    for file in profile.json experts.csv stacks.folded report.html; do check "$file" test -s "run1/$file"; done
    check "a page below 5 MB" test "$(wc -c <run1/report.html)" -lt 5000000
    check "that asks no network" sh -c "! grep -oE '(src|href)=\"?https?:' run1/report.html"
}

@test "what-if: sizes and policies, with a plan and without" {
    (echo layer,expert; awk -F, 'NR > 1 { print $3 "," $4; print $3 "," $5 }' "$DATA/traces/demo_routing_english.csv") >e.csv
    mox profile import e.csv --out e.trace
    exits 0
    says '18432 uses of 6 layers, 8 experts, top 2'
    mox profile export --csv e.trace
    same "the table again" "$(awk -F, 'NR > 1 { print $5 "," $7 }' out | cksum)" "$(sed 1d e.csv | cksum)"
    cp out exported
    mox profile import exported --out again.trace
    exits 0
    check "an export is a table like others" cmp -s e.trace again.trace
    mox profile what-if e.trace
    exits 0
    prints 'one lru list for all layers'
    says 'million a second'
    mox profile what-if e.trace --policy lru --model "$DEMO" --ram 20M --gpu-spec ddr4-3200
    exits 0
    prints 'tok/s pred'
    prints 'lru   belady'
    mox profile what-if e.trace --model "$DEMO" --gpu-spec 4080 --assume-vram 790M --ram 64M --json
    exits 0
    check "never more than the best" awk -v a="$(json policies.dlfu)" -v b="$(json policies.belady)" 'BEGIN { exit !(a > 0 && a <= b) }'
    same "a tier for what the card holds" "$(json vram_tier.ram)" "$(awk -v v="$(json vram_tier.vram)" 'BEGIN { print 1 - v }')"
    mox profile what-if e.trace --vram-experts 24 --ram-experts 25% --json
    exits 0
    same "in VRAM" "$(json vram_tier.vram_per_layer)" 4
    same "in RAM" "$(json vram_tier.ram_per_layer)" 2
    same "every newcomer admitted" "$(json vram_tier.vram_always_admitting)" "$(json curve.4.dlfu)"
    same "the best" "$(json vram_tier.vram_best)" "$(json curve.4.belady)"
    check "half the moves at most, for 3 points of hits at most" awk -v m="$(json vram_tier.moves_per_token)" \
        -v a="$(json vram_tier.moves_per_token_always_admitting)" -v v="$(json vram_tier.vram)" -v h="$(json curve.4.dlfu)" \
        'BEGIN { exit !(m > 0 && m <= a / 2 && v >= h - 0.03) }'
    check "with RAM as one cache of both" awk -v v="$(json vram_tier.vram)" -v r="$(json vram_tier.ram)" -v b="$(json curve.6.dlfu)" \
        'BEGIN { exit !((v + r - b) ^ 2 < 1e-12) }'
    mox profile what-if e.trace --vram-experts 50% --policy lru
    prints "a GPU's memory over RAM (lru; RAM keeps 0.00 a layer beside it)"
    prints '  asked 4.00'
    mox profile what-if e.trace --model "$DEMO" --vram 3M
    prints '  asked 2.17 '
    prints 'RAM keeps 8.00 a layer'
    styled 2 MX-2003 profile what-if e.trace --vram 3M
    says 'does not say how big its experts are'
    styled 2 MX-2003 profile what-if e.trace --vram 50%
    mox profile what-if e.trace -m "$A"
    exits 3
    says 'is of another model'
}

@test "tables and traces that are none" {
    styled 2 MX-2002 profile import e.csv
    styled 6 MX-6002 profile import missing.csv --out x.trace
    for text in 'a,b' 'layer,expert' 'layer,expert\n0' 'layer,expert\n0,x' 'layer,expert\n0,70000' 'layer,expert\n-1,2' 'layer,expert,weight\n0,1,nan'; do
        # shellcheck disable=SC2059
        printf "$text\n" >bad.csv
        styled 3 MX-3001 profile import bad.csv --out x.trace
    done
    head -c 32 /dev/zero >zero.trace
    styled 3 MX-3001 profile report zero.trace
    printf 'layer,expert\n0,1\n' >one.csv
    mox profile import one.csv --out one.trace
    mox profile report one.trace
    exits 0
    prints 'fewer than 200 tokens'
    styled 6 MX-6005 profile report one.trace --out /nonexistent/dir
}

# A Chrome trace: what is on one thread lies beside or inside each other, by its times alone.
nests() { # FILE
    sed -n 's/^{"ph":"X","pid":1,"tid":\([0-9]*\),.*"ts":\([0-9.]*\),"dur":\([0-9.]*\),.*/\1 \2 \3/p' "$1" |
        awk '{ printf "%d %.0f %.0f\n", $1, $2 * 1000, $3 * 1000 }' | sort -k1,1n -k2,2n -k3,3nr |
        awk '{ if ($1 != lane) { lane = $1; depth = 0 }
            while (depth > 0 && end[depth] <= $2) depth--
            if (depth > 0 && $2 + $3 > end[depth]) { print "tid " $1 ": " $2 " for " $3 " ends after " end[depth]; bad = 1 }
            end[++depth] = $2 + $3; n++ } END { exit bad || n < 100 }'
}

@test "profile run: an answer, its report, spans that nest, and figures that add up" {
    mox profile run "$DEMO" --raw -p 'It was a bright' -n 60 --ram-experts 40% --temp 0.7 --seed 3 --heat off -o run1
    exits 0
    for q in 1 2 3 4 5 6 7; do prints "^$q\. "; done
    prints 'of the time waits for experts'
    prints 'ms waited at'
    for file in run.trace profile.json experts.csv stacks.folded trace.json report.html; do check "$file" test -s "run1/$file"; done
    is_json run1/trace.json
    check "spans nest in each lane" nests run1/trace.json
    for lane in 'step thread' 'I/O thread' 'read in flight 1'; do check "a lane for the $lane" grep -q "\"$lane\"" run1/trace.json; done
    for what in attention router experts logits sampling text read place 'wait for experts' look-ahead; do
        check "spans of $what" grep -q "\"name\":\"$what\"" run1/trace.json
    done
    mox profile report run1 --json
    exits 0
    tokens=$(json measured.answer.tokens)
    same "a step for each token but the last" "$tokens" "$(json served.answer.tokens)"
    check "parts add up to the time" awk -v all="$(json measured.answer.seconds)" -v parts="$(for k in 0 1 2 3 4 5 6; do json measured.answer.parts.$k.seconds; done | tr '\n' ' ')" \
        'BEGIN { n = split(parts, p); for (i = 1; i <= n; i++) s += p[i]; exit !(all > 0 && (s - all) ^ 2 < 1e-12) }'
    check "stacks have the same time" awk -v a="$(json measured.answer.seconds)" -v b="$(json measured.prompt.seconds)" \
        '{ n += $NF } END { t = (a + b) * 1e6; exit !(n > 0.8 * t && n < 1.01 * t) }' run1/stacks.folded
    same "nothing is missing" "$(json trust.dropped_uses) $(json trust.dropped_spans) $(json trust.whole)" '0 0 true'
    same "the settings" "$(json run.ctx) $(json run.threads)" "512 $(json run.threads)"
    bytes=$(grep -c '"name":"read"' run1/trace.json)
    at_least "reads" "$bytes" 10
    mox profile run "$DEMO" --raw -p hi -n 4 --ram-experts 40% --heat off -o only.trace --json
    exits 0
    schema moxie.profile/1
    check "the trace alone" test -s only.trace
    styled 2 MX-2002 profile run "$DEMO" -p hi
    says 'needs a place'
    styled 2 MX-2002 profile run "$DEMO" -p hi -o x --dry-run
    styled 2 MX-2002 profile -o x run
    styled 6 MX-6005 profile run "$DEMO" -p hi -o /nonexistent/dir
    mox profile run --help
    exits 0
    prints 'moxie profile run'
}

@test "diff: what differs between two runs, and models that cannot be compared" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 30 --ram-experts 30% --heat off --record a.trace --timings
    mox run "$DEMO" --raw -p 'It was a bright' -n 30 --ram-experts 70% --policy lru --heat off --record b.trace
    mox profile diff a.trace b.trace
    exits 0
    prints '^policy  *auto -> lru'
    prints '^found in RAM'
    prints_not '^ctx '
    mox profile diff a.trace b.trace --json
    schema moxie.profile_diff/1
    same "one machine" "$(json same_machine)" true
    check "more experts, more hits" awk -v a="$(json resident.0)" -v b="$(json resident.1)" 'BEGIN { exit !(b > a && a > 0) }'
    cp out diff.json
    mox profile export --csv b.trace
    same "the second rate, recounted" "$(printf %.4f "$(json resident.1 diff.json)")" \
        "$(awk -F, '$2 == "decode" { n++; r += $9 == "ram" } END { printf "%.4f", r / n }' out)"
    mox run "$A" --raw -p 'abc' -n 4 --ram-experts 50% --heat off --record c.trace
    styled 3 MX-3001 profile diff a.trace c.trace
    says 'of two models'
    styled 2 MX-2002 profile diff a.trace
    styled 6 MX-6002 profile diff a.trace missing.trace
}

@test "traces that were cut off or changed: one error each, and never a wrong table" {
    mox run "$DEMO" --raw -p 'It was' -n 6 --ram-experts 50% --heat off --record good.trace --timings
    n=$(wc -c <good.trace)
    for cut in 31 40 $((n / 3)) $((n / 2)) $((n - 1)); do
        head -c "$cut" good.trace >bad.trace
        styled 3 MX-3001 profile report bad.trace
    done
    head -c $((n - 48)) good.trace >killed.trace # all but its end
    mox profile report killed.trace
    exits 0
    prints 'the trace has no end'
    for at in 0 4 33 $((n / 2)) $((n - 40)); do
        cp good.trace bad.trace
        printf '\377\377\377\377' | dd of=bad.trace bs=1 seek="$at" conv=notrunc status=none
        mox profile report bad.trace
        check "offset $at: an answer or one error" sh -c "[ $rc = 0 ] || { [ $rc = 3 ] && [ \$(grep -c error: err) = 1 ]; }"
    done
    styled 3 MX-3001 profile report good.trace --model "$A"
    says 'of another model'
    mox run "$DEMO" --raw -p 'It was' -n 6 --ram-experts 50% --heat off --record plain.trace
    mox profile export --folded plain.trace -o plain.folded
    exits 0
    same "uses in stacks" "$(awk '{ n += $NF } END { print n }' plain.folded)" "$("$BIN" profile export --csv plain.trace | sed 1d | wc -l)"
    styled 3 MX-3001 profile export --chrome plain.trace
    says 'has no times'
    styled 2 MX-2002 profile export good.trace
    styled 2 MX-2002 profile export --csv --chrome good.trace
}
