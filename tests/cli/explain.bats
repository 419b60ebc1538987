# moxie explain, and the errors themselves: every code of the table is explained, and every code is provoked by some
# test or listed here with the reason why it cannot be from outside.
load lib

@test "every code is explained on one screen" {
    mox explain
    exits 0
    codes=$(sed -n 's/^\(MX-[0-9]*\)  .*/\1/p' out)
    at_least "codes" "$(echo "$codes" | wc -w)" 30
    # the table of the source is the list
    table=$(sed -n 's/^ *X([A-Z_]*, \([1-9][0-9]*\), .*/MX-\1/p' "$SOURCE/runtime/core/err.h")
    same "explain lists the table" "$(echo $codes)" "$(echo $table)"
    for code in $codes; do
        mox explain "$code"
        exits 0
        prints "^$code: "
        prints 'what to do'
        check "$code fits a screen" test "$(wc -l <out)" -le 24
    done
}

@test "a number is enough; an unknown code is not" {
    mox explain 4001
    exits 0
    prints '^MX-4001'
    styled 2 MX-2002 explain MX-9999
    says 'no error code MX-9999'
    styled 2 MX-2002 explain nothing
}

@test "every code is provoked by a test, or cannot be from outside" {
    # MX-1001 INTERNAL     only a defect can: a state that the rules exclude
    # MX-1003 CANCELLED    the library's answer to a caller's own stop; the program ends with 130 and 143 (run.bats)
    # MX-3001 .. MX-3011   files: tests/gguf and errors.bats
    # MX-5001 DEVICE       this version computes on the CPU alone, which is always there
    excused='MX-1001 MX-1003 MX-5001'
    missing=
    for row in $(sed -n 's/^ *X(\([A-Z_]*\), \([1-9][0-9]*\), .*/\1:MX-\2/p' "$SOURCE/runtime/core/err.h"); do
        name=${row%%:*} code=${row#*:}
        case " $excused " in *" $code "*) continue ;; esac
        grep -rqE --include='*.bats' --include='*.sh' --include='*.c' "(MOX_E_${name}\b|$code)" "$SOURCE/tests" \
            || missing="$missing $code"
    done
    same "codes that no test provokes" "$missing" ""
}
