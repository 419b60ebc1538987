# The tests against the tables: every command has its file, every option of every command stands in it, every schema
# and exit code is asserted somewhere. The tables are taken from docs/options.md, which the program writes.
load lib

tests_of() { # COMMAND: the text of its tests
    cat "$TESTS/$1".bats 2>/dev/null || true
}
# Rows "SHORT LONG COMMAND ...": every option with the commands that take it
rows() {
    sed -n 's/^| \(`\(-[a-zA-Z]\)`, \)\?`\(--[a-z-]*\)[^`]*` | \(.*\)/\2|\3|\4/p' "$SOURCE/docs/options.md" |
        sed 's/\\|/\//g' | awk -F'|' '{ c = $0 ~ /MOXIE_/ ? $5 : $4; gsub(",", "", c); print ($1 == "" ? "-" : $1), $2, c }'
}

@test "every command has a file of tests" {
    missing=
    for command in $("$BIN" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' | grep -v '^moxie$') docs; do
        [ -n "$(tests_of "$command")" ] || missing="$missing $command"
    done
    same "commands without tests" "$missing" ""
}

@test "every option of every command is exercised" {
    rows >table
    at_least "options" "$(wc -l <table)" 50
    missing= pairs=0
    while read -r short long commands; do
        case $long in --help | --help-all) continue ;; esac # of all commands: usage.bats walks through them
        for command in $commands; do
            [ "$command" != all ] || failed "$long: all"
            tests_of "$command" >text
            pairs=$((pairs + 1))
            grep -qE -e "(^|[ '\"])$long([ ='\"]|\$)" text || missing="$missing $command:$long"
            [ "$short" = - ] || grep -qE -e "(^|[ '\"])$short([ 0-9'\"]|\$)" text || missing="$missing $command:$short"
        done
    done <table
    at_least "pairs of command and option" $pairs 100
    same "options without a test" "$missing" ""
}

@test "every exit code is asserted" {
    missing=
    for code in $(sed -n '/^## Exit codes/,$s/^| \([0-9]*\) .*/\1/p' "$SOURCE/docs/options.md"); do
        cat "$TESTS"/*.bats | grep -qE "(exits|styled|stop_with [A-Z]*|fails) $code\b" || missing="$missing $code"
    done
    same "exit codes without a test" "$missing" ""
}

@test "every schema is asserted" {
    missing=
    for schema in $(grep -rhoE --include='*.c' '"moxie\.[a-z]+/[0-9]+"' "$SOURCE/runtime/cli" | tr -d '"' | sort -u); do
        grep -qE "schema $schema\b" "$TESTS"/*.bats || missing="$missing $schema"
    done
    same "schemas without a test" "$missing" ""
}
