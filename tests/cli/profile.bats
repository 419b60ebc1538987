# moxie profile export: the table has what the run counted.
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
    styled 6 MX-6002 profile export --csv missing.trace
    mox profile export --csv "$DEMO"
    exits 3
    head -c 10 "$DEMO" >short
    mox profile export --csv short
    exits 3
}
