# From samples to tables: awk -v json=FILE -f report.awk machine versions settings notes samples
# Medians with least and greatest, and moxie's median over each peer's, on stdout; the same as JSON in a file if asked
# for. Exit 1 if there is nothing to compare. Called by run.
BEGIN { FS = "\t" }
FNR == 1 { file = ARGIND_of(FILENAME) }
file == "machine" { machine[++n_machine] = $1; value[$1] = $2; next }
file == "versions" { engines[++n_versions] = $1; version[$1] = $2; next }
file == "settings" { set[++n_set] = $0; next }
file == "notes" { note[++n_notes] = $0; next }
file == "samples" {
    if (!($1 in part_seen)) { part_seen[$1] = 1; parts[++n_parts] = $1 }
    if (!($2 in engine_seen)) { engine_seen[$2] = 1; order[++n_order] = $2 }
    if (!(($1, $3) in test_seen)) { test_seen[$1, $3] = 1; tests[$1, ++n_tests[$1]] = $3 }
    s[$1, $2, $3, ++k[$1, $2, $3]] = $4
}
function ARGIND_of(name) {
    sub(/.*\//, "", name)
    return name
}
function sort_of(p, e, t,   i, j, x, n) {
    n = k[p, e, t]
    for (i = 1; i <= n; i++) {
        x = s[p, e, t, i] + 0
        for (j = i - 1; j > 0 && v[j] > x; j--) v[j + 1] = v[j]
        v[j + 1] = x
    }
    return n
}
function median_of(p, e, t,   n) {
    n = sort_of(p, e, t)
    return n == 0 ? 0 : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function quoted(x) {
    gsub(/\\/, "\\\\", x)
    gsub(/"/, "\\\"", x)
    gsub(/[\001-\037]/, " ", x)
    return "\"" x "\""
}
function cell(p, e, t,   m, n) {
    m = median_of(p, e, t)
    n = k[p, e, t]
    return n == 0 ? "-" : sprintf("%.2f (%.2f .. %.2f)", m, v[1], v[n])
}
function table(p,   i, j, line, rule, m, x) {
    line = "| " (p == "RAM" ? "all in RAM" : "cgroup of " p " of the file") " |"
    rule = "|---|"
    for (j = 1; j <= n_order; j++) {
        line = line " " order[j] " |" (order[j] == "moxie" ? "" : " moxie / " order[j] " |")
        rule = rule "---|" (order[j] == "moxie" ? "" : "---|")
    }
    print line "\n" rule
    for (i = 1; i <= n_tests[p]; i++) {
        line = "| " tests[p, i] " |"
        m = median_of(p, "moxie", tests[p, i])
        for (j = 1; j <= n_order; j++) {
            line = line " " cell(p, order[j], tests[p, i]) " |"
            if (order[j] == "moxie") continue
            x = median_of(p, order[j], tests[p, i])
            line = line (m > 0 && x > 0 ? sprintf(" %.2f |", m / x) : " - |")
            if (m > 0 && x > 0) compared++
        }
        print line
    }
    print ""
}
function json_results(   a, i, j, l, p, t, e, m, own, sep) {
    for (a = 1; a <= n_parts; a++) for (i = 1; i <= n_tests[parts[a]]; i++) for (j = 1; j <= n_order; j++) {
        p = parts[a]; t = tests[p, i]; e = order[j]
        own = median_of(p, "moxie", t)
        m = median_of(p, e, t)
        if (m == 0) continue
        printf "%s\n    {\"part\": %s, \"test\": %s, \"engine\": %s, \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, ",
            sep, quoted(p), quoted(t), quoted(e), m, v[1], v[k[p, e, t]] > json
        printf "\"moxie_over_it\": %.4f, \"tok_s\": [", own / m > json
        for (l = 1; l <= k[p, e, t]; l++) printf "%s%s", (l > 1 ? ", " : ""), s[p, e, t, l] > json
        printf "]}" > json
        sep = ","
    }
}
function json_all(   i, f) {
    printf "{\n  \"schema\": \"moxie.peers/1\",\n  \"machine\": {" > json
    for (i = 1; i <= n_machine; i++)
        printf "%s%s: %s", (i > 1 ? ", " : ""), quoted(machine[i]), quoted(value[machine[i]]) > json
    printf "},\n  \"versions\": {" > json
    for (i = 1; i <= n_versions; i++)
        printf "%s%s: %s", (i > 1 ? ", " : ""), quoted(engines[i]), quoted(version[engines[i]]) > json
    printf "},\n  \"settings\": [" > json
    for (i = 1; i <= n_set; i++) {
        split(set[i], f, "\t")
        printf "%s\n    {\"part\": %s, \"engine\": %s, \"test\": %s, \"options\": %s}", (i > 1 ? "," : ""),
            quoted(f[1]), quoted(f[2]), quoted(f[3]), quoted(f[4]) > json
    }
    printf "],\n  \"notes\": [" > json
    for (i = 1; i <= n_notes; i++) printf "%s%s", (i > 1 ? ", " : ""), quoted(note[i]) > json
    printf "],\n  \"results\": [" > json
    json_results()
    printf "]\n}\n" > json
}
END {
    for (i = 1; i <= n_machine; i++) print "* " machine[i] ": " value[machine[i]]
    for (i = 1; i <= n_versions; i++) print "* " engines[i] ": " version[engines[i]]
    print "\ntok/s, median (least .. greatest); ratios of medians\n"
    for (i = 1; i <= n_parts; i++) table(parts[i])
    if (n_set > 0) print "The peers' settings, the fastest of those tried:\n"
    for (i = 1; i <= n_set; i++) {
        split(set[i], f, "\t")
        print "* " f[1] ", " f[2] ", " f[3] ": " f[4]
    }
    if (n_notes > 0) print "\nNot measured, or not as asked:\n"
    for (i = 1; i <= n_notes; i++) print "* " note[i]
    if (json != "") json_all()
    exit compared > 0 ? 0 : 1
}
