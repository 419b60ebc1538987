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
    same "uses.folded adds up" "$(awk '{ n += $NF } END { print n }' run2/uses.folded)" "$(sed 1d table | wc -l)"
    # lru with 4 kept in every layer, recounted from the table: the list of each layer, most recent first
    recount=$(awk -F, 'NR > 1 && $2 == "decode" { k = $1 "," $5; if (k != last) { flush(); last = k; layer = $5; n = 0 } e[n++] = $7 }
        function flush(   i, j, m, out, kept, t) { if (n == 0) return
            if (!(layer in list)) list[layer] = " 0 1 2 3 "
            for (i = 0; i < n; i++) { hits += index(list[layer], " " e[i] " ") > 0; all++ }
            for (i = n - 1; i >= 0; i--) for (j = 0; j < i; j++) if (e[j] > e[j + 1]) { t = e[j]; e[j] = e[j + 1]; e[j + 1] = t }
            out = " "; for (i = 0; i < n; i++) out = out e[i] " "
            m = split(list[layer], old, " "); kept = n
            for (i = 1; i <= m && kept < 4; i++) if (index(out, " " old[i] " ") == 0) { out = out old[i] " "; kept++ }
            list[layer] = out }
        END { flush(); printf "%.4f", hits / all }' table)
    same "lru with 4" "$(printf %.4f "$(json curve.4.lru run2/profile.json)")" "$recount"
    for file in profile.json experts.csv uses.folded report.html; do check "$file" test -s "run1/$file"; done
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
