# doctor on this machine: every finding, in both forms; each warning with its fix; --strict.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

run doctor "$DEMO" --json
exits 0
is_json
same schema "$(json schema)" moxie.doctor/1
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
check "memory was read" awk -v r="$(json findings.8.bytes_per_s)" 'BEGIN { exit !(r > 1e8) }'
check "the disk was read" awk -v r="$(json findings.9.bytes_per_s)" 'BEGIN { exit !(r > 1e6) }'
total=$(awk '/^MemTotal/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
check "no more memory than there is" test "$(printf '%.0f' "$(json findings.1.total_bytes)")" -le $((total + 1048576))

# a limit that warns, whatever the machine
ulimit -S -l 64
run doctor "$DEMO" --strict
exits 8
says 'MX-8001'
prints '^! memlock '
prints 'fix: .*unlimited'
check "the report fits a screen's width in lines" test "$(wc -l <"$OUT")" -le 24
run doctor missing.gguf
exits 6
finish
