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

# Every count of a report is that of a program which follows docs/hit-rates.md and shares no code with this one.
recounts() { # TABLE REPORT-FOLDER
    local r=$2/profile.json layers experts phase name tier q policy pairs
    layers=$(json n_layers "$r") experts=$(json n_experts "$r")
    for ((q = 0; q < layers; q++)); do json "layers.$q.kept" "$r"; done >kept
    # shellcheck disable=SC2046
    { "$RECOUNT" "$1" "$layers" "$experts" && "$RECOUNT" "$1" "$layers" "$experts" $(cat kept); } >counts
    counted() { awk -v key="$1 $2 $3" -v field="${4:-4}" '$1 " " $2 " " $3 == key { print $field; exit }' counts; }
    for phase in prompt answer; do
        name=$([ $phase = prompt ] && echo prefill || echo decode)
        for tier in vram ram late file; do
            same "$phase: $tier" "$(json "served.$phase.$tier" "$r")" "$(grep -c ",$name,.*,$tier\$" "$1" || true)"
        done
        same "uses of the $phase" "$(json "served.$phase.uses" "$r")" "$(counted "$name" all all 5)"
        same "pairs of the $phase" "$(json "by_phase.$phase.pairs" "$r")" "$(counted "$name" all all)"
        for policy in lru lfu dlfu static belady; do
            same "$phase: $policy" "$(json "by_phase.$phase.$policy" "$r")" "$(counted "$name" given $policy)"
        done
    done
    name=$([ "$(json phase "$r")" = prompt ] && echo prefill || echo decode) pairs=$(counted "$name" all all)
    for ((q = 0; q <= experts; q++)); do
        for policy in lru lfu dlfu static belady; do
            same "$policy with $q" "$(json "curve.$q.served.$policy" "$r") $(json "curve.$q.$policy" "$r")" \
                "$(counted "$name" $q $policy | awk -v n="$pairs" '{ printf "%d %.9g", $1, $1 / n }')"
        done
    done
    same "one list" "$(json one_list.served "$r")" "$(counted "$name" given one-list)"
    same "resident, and in each half" "$(json actual "$r") $(json trust.first_half "$r") $(json trust.second_half "$r")" \
        "$(awk -F, -v name="$name" '$2 == name { there[n++] = $9 == "ram" || $9 == "vram" }
            END { for (i = 0; i < n; i++) { h = i >= int(n / 2); all[h]++; of[h] += there[i] }
                printf "%.9g %.9g %.9g", (of[0] + of[1]) / n, of[0] / all[0], of[1] / all[1] }' "$1")"
    awk -F, -v layers="$layers" -v experts="$experts" 'BEGIN { print "layer,expert,uses,away" }
        NR > 1 { uses[$5, $7]++; away[$5, $7] += $9 == "late" || $9 == "file" }
        END { for (l = 0; l < layers; l++) for (e = 0; e < experts; e++) print l "," e "," uses[l, e] + 0 "," away[l, e] + 0 }' "$1" >experts.csv
    check "experts.csv" cmp experts.csv "$2/experts.csv"
    same "uses by layer and expert" "$(for ((q = 0; q < layers; q++)); do json "layers.$q.uses_by_expert.$((experts - 1))" "$r"; done)" \
        "$(awk -F, -v e="$((experts - 1))" '$2 == e { print $3 }' experts.csv)"
}

@test "report: the seven questions, files, and counts that a recount gives" {
    mox run "$DEMO" --raw -p 'It was a bright cold day in April, and the clocks were striking thirteen.' --batch 5 -n 100 --ram-experts 50% --policy dlfu --record run.trace --json
    exits 0
    mox profile report run.trace --model "$DEMO" --ram-experts 50% --gpu-spec gen4 --out run1
    exits 0
    for q in 1 2 3 4 5 6 7; do prints "^$q\. "; done
    prints 'dlfu gets .* % of what is possible'
    prints '  <- now'
    prints " tok/s predicted: moxie plan $DEMO --gpu-spec gen4 --ram [0-9]*M$"
    mox profile report run.trace -m "$DEMO" --ram-experts 50% --gpu-spec gen4 --json -o run2
    exits 0
    schema moxie.profile/1
    check "the same file" cmp -s out run2/profile.json
    mox profile export --csv run.trace
    cp out table
    same "stacks.folded adds up" "$(awk '{ n += $NF } END { print n }' run2/stacks.folded)" "$(sed 1d table | wc -l)"
    recounts table run2
    for file in profile.json experts.csv stacks.folded report.html; do check "$file" test -s "run1/$file"; done
    check "a page below 5 MB" test "$(wc -c <run1/report.html)" -lt 5000000
    check "that asks no network" sh -c "! grep -oE '(src|href)=\"?https?:' run1/report.html"
}

@test "report: counts of prompts, of tables from elsewhere, and where a step has both phases" {
    mox run "$DEMO" --raw -p "$(seq 60)" --batch 7 -n 1 --ram-experts 50% --record prompt.trace
    mox profile report prompt.trace --out prompt
    exits 0
    prints "the prompt's routing again"
    mox profile export --csv prompt.trace -o prompt.csv
    recounts prompt.csv prompt
    # several tokens in a step, 40 experts, some of which are used seldom, and steps far apart
    awk 'BEGIN { srand(4); print "step,phase,position,layer,rank,expert"
        for (s = 0; s < 90; s++) for (l = 0; l < 2; l++) for (t = 0; t < (s % 9 ? 1 : 7); t++) for (k = 0; k < 3; k++)
            print s "," (s % 9 ? "decode" : "prefill") "," s * 10 + t "," l "," k "," int(40 * rand() * rand() * rand()) }' >made.csv
    mox profile import made.csv --out made.trace
    mox profile report made.trace --out made
    mox profile export --csv made.trace -o made.out
    recounts made.out made
    printf 'step,phase,layer,expert\n0,decode,0,1\n0,prefill,0,1\n0,decode,0,0\n' >both.csv
    mox profile import both.csv --out both.trace
    mox profile report both.trace --out both
    exits 0
    mox profile export --csv both.trace -o both.out
    recounts both.out both
}

@test "what-if: sizes and policies, with a plan and without" {
    (echo layer,expert; awk -F, 'NR > 1 { print $3 "," $4; print $3 "," $5 }' "$DATA/traces/demo_routing_english.csv") >e.csv
    mox profile import e.csv --out e.trace
    exits 0
    says '18432 uses of 6 layers, 8 experts, top 2'
    mox profile export --csv e.trace
    same "the table again" "$(awk -F, 'NR > 1 { print $5 "," $7 }' out | cksum)" "$(sed 1d e.csv | cksum)"
    cp out exported
    "$RECOUNT" exported 6 8 >counts
    mox profile import exported --out again.trace
    exits 0
    check "an export is a table like others" cmp -s e.trace again.trace
    mox profile what-if e.trace
    exits 0
    prints 'one lru list of [0-9]* for all layers: '
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
    counted() { awk -v key="decode $1 $2" -v field="$3" '$1 " " $2 " " $3 == key { print $field }' counts; }
    counts=$(for k in uses vram moves always always_moves best; do json "vram_tier.counts.$k"; done | paste -sd ' ')
    same "counted again" "$counts" "$(counted all all 5) $(counted 4 moves 5) $(counted 4 moves 6) $(counted 4 dlfu 5) $(counted 4 dlfu 6) $(counted 4 belady 5)"
    same "of both tiers" "$(($(json vram_tier.counts.vram) + $(json vram_tier.counts.ram)))" "$(counted 6 dlfu 5)"
    for q in 0 1 3; do
        same "$q a layer in RAM below 4 in VRAM" "$(($(json "vram_tier.over_ram.$q.vram") + $(json "vram_tier.over_ram.$q.ram")))" \
            "$([ $q = 0 ] && counted 4 moves 5 || counted $((4 + q)) dlfu 5)"
        same "$q a layer in VRAM" "$(json "vram_tier.over_vram.$q.vram") $(json "vram_tier.over_vram.$q.moves")" "$(counted $q moves 5) $(counted $q moves 6)"
    done
    for q in 1 2 4 6; do for policy in lru lfu dlfu static belady; do
        same "$policy with $q of 9216 steps" "$(json "curve.$q.served.$policy")" "$(counted $q $policy 4)"
    done; done
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
    printf 'layer,expert\n0,1\n512,1\n' >bad.csv
    styled 3 MX-3001 profile import bad.csv --out x.trace
    says 'line 3: layer 512, .* allowed are 512 layers'
    printf 'layer,expert\r\n\r\n0,1\r\n0,65535\r\n' >bad.csv
    styled 3 MX-3001 profile import bad.csv --out x.trace
    says 'line 4: layer 0, expert 65535'
    { printf 'layer,expert\n'; for ((q = 0; q < 300; q++)); do echo "0,$q"; done; } >bad.csv
    styled 3 MX-3001 profile import bad.csv --out x.trace
    says 'number 256 of its layer'
    printf 'layer,expert,phase\n0,1,both\n' >bad.csv
    styled 3 MX-3001 profile import bad.csv --out x.trace
    printf 'layer,expert\n0,1\n0,\0002\n' >bad.csv
    styled 3 MX-3001 profile import bad.csv --out x.trace
    says 'a zero byte at offset 19'
    styled 3 MX-3001 profile import "$DEMO" --out x.trace
    : >empty
    mkdir folder
    echo '{"layer": [0, 1], "expert": 2}' >other.json
    styled 3 MX-3001 profile import empty --out x.trace
    styled 3 MX-3001 profile import other.json --out x.trace
    styled 6 MX-6001 profile import folder --out x.trace
    for command in report what-if 'export --csv' 'export --chrome' 'diff empty'; do
        for file in empty other.json "$DEMO" /dev/null; do
            # shellcheck disable=SC2086
            styled 3 MX-3001 profile $command $file
        done
        # shellcheck disable=SC2086
        [ "$command" = 'diff empty' ] || styled 6 MX-6002 profile $command folder
    done
    check "and no trace was begun" test ! -e x.trace
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
    same "nothing was made to nest" "$(json trust.spans_cut)" 0
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
    styled 3 MX-3003 profile report good.trace --model good.trace
    styled 4 MX-4001 profile report good.trace --model "$DEMO" --ram 1M
    styled 2 MX-2002 profile report good.trace --model "$DEMO" --gpu-spec 9999
    styled 2 MX-2002 profile report good.trace more
    : >file
    styled 6 MX-6005 profile report good.trace -o file
    mox run "$DEMO" --raw -p 'It was' -n 6 --ram-experts 50% --heat off --record plain.trace
    mox profile export --folded plain.trace -o plain.folded
    exits 0
    same "uses in stacks" "$(awk '{ n += $NF } END { print n }' plain.folded)" "$("$BIN" profile export --csv plain.trace | sed 1d | wc -l)"
    styled 3 MX-3001 profile export --chrome plain.trace
    says 'has no times'
    styled 2 MX-2002 profile export good.trace
    styled 2 MX-2002 profile export --csv --chrome good.trace
}
