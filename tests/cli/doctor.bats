# moxie doctor on this machine: every finding, in both forms; each warning with its fix; --strict. Other machines are
# played in test_doctor.c.
load lib

@test "--json: every finding, and a fix for each warning" {
    mox doctor "$DEMO" --json
    exits 0
    schema moxie.doctor/1
    warnings=$(json warnings)
    names='cpu memory swap memlock huge_pages gpu io_uring file_system memory_rate disk_rate'
    i=0 seen=0
    for name in $names; do
        same "finding $i" "$(json findings.$i.name | tr ' ' _)" "$name"
        if [ "$(json findings.$i.status)" = warning ]; then
            seen=$((seen + 1))
            check "$name has a fix" test -n "$(json findings.$i.fix)"
        fi
        i=$((i + 1))
    done
    same "warnings are counted" "$seen" "$warnings"
    at_least "memory was read" "$(json findings.8.bytes_per_s)" 1e8
    at_least "the disk was read" "$(json findings.9.bytes_per_s)" 1e6
    total=$(awk '/^MemTotal/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
    at_least "no more memory than there is" $((total + 1048576)) "$(json findings.1.total_bytes)"
}

@test "--strict: a warning is exit code 8, in both forms" {
    # a limit that warns, whatever the machine
    ulimit -S -l 64
    mox doctor -m "$A" --strict --config none
    exits 8
    says 'MX-8001'
    prints '^! memlock '
    prints 'fix: .*unlimited'
    prints '^[1-9][0-9]* warning'
    check "the report fits a screen" test "$(wc -l <out)" -le 24
    mox doctor --model "$A" --json --strict
    exits 8
    schema moxie.doctor/1
    same "memlock" "$(json findings.3.status)" warning
}

@test "missing model, wrong options" {
    styled 6 MX-6002 doctor missing.gguf
    styled 2 MX-2002 doctor "$A" --stirct
    says 'did you mean --strict?'
}
