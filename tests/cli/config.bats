# moxie config, and settings: command line over environment over files over defaults, each with its origin.
load lib

origin() { # "VALUE | ORIGIN" of a key, from either form of the output
    if [ "$(head -c 1 out)" = '{' ]; then
        echo "$(json "settings.$1.value") | $(json "settings.$1.origin")"
    else
        sed -n "s/^\(; \)\?$1 = \(.*[^ ]\)  *; \(.*\)$/\2 | \3/p" out
    fi
}

# Rows of docs/options.md: NAME ARGUMENT, one per setting ("-" for a flag); the generated page is the table.
settings() {
    sed -n '/^## Settings/,/^## Options of one call/s/^| \(`-[a-zA-Z]`, \)\?`--\([a-z-]*\) *\([^`]*\)` | `MOXIE_.*/\2 \3/p' \
        "$SOURCE/docs/options.md" | sed 's/ $/ -/; s/\\|/|/g'
}
# Three values that an option takes, from what --help calls its value.
values() {
    case $1 in
    -) echo on off on ;;
    FILE) echo a.gguf b.gguf c.gguf ;;
    TEXT) echo one two three ;;
    N) echo 3 4 5 ;;
    K) echo 6 7 8 ;;
    N,...) echo 3 4,5 6 ;;
    T | P | X) echo 0.25 0.5 0.75 ;;
    JSON) echo '{} {"a":1} {"b":2}' ;;
    SIZE) echo 1G 2G 3G ;;
    'SIZE|PCT|min|auto') echo 1G 40% min ;;
    'N|PCT') echo 3 40% 5 ;;
    *'|'*) echo "$1" | tr '|' ' ' | awk '{ print $1, $NF, $1 }' ;;
    *) return 1 ;;
    esac
}

@test "every setting: flag over environment over --config over the user's file over the default" {
    n=0
    while read -r name argument; do
        # shellcheck disable=SC2046 # three words
        set -- $(values "$argument") || failed "--$name $argument: no values known"
        check "--$name $argument: values" test $# -eq 3
        variable=MOXIE_$(echo "$name" | tr a-z- A-Z_)
        rm -f "$CONFIG"
        mox config show --origin
        grep -qE "^(; )?$name = .* ; default\$" out || failed "--$name has a default"
        printf '%s = %s\n' "$name" "$1" >"$CONFIG"
        mox config show --origin
        same "--$name in the user's file" "$(origin "$name")" "$1 | $CONFIG:1"
        printf '\n%s = %s\n' "$name" "$2" >more.conf
        mox config show --origin --config more.conf
        same "--$name in --config" "$(origin "$name")" "$2 | more.conf:2"
        export "$variable=$3"
        mox config show --origin --config more.conf
        same "--$name in the environment" "$(origin "$name")" "$3 | environment, $variable"
        if [ "$argument" = - ]; then set -- "$2" "$1" && set -- "--$name=$1"; else set -- "--$name" "$1"; fi
        mox config show --origin --config more.conf "$@"
        value=${*: -1}
        same "--$name on the command line" "$(origin "$name")" "${value#*=} | command line"
        unset "$variable"
        n=$((n + 1))
    done < <(settings)
    at_least "settings" $n 30
}

@test "every setting is checked wherever it comes from" {
    while read -r name argument; do
        case $argument in *FILE | TEXT | JSON | 'ID|UUID') continue ;; esac
        printf '[*]\n%s = :nonsense:\n' "$name" >wrong.conf
        mox config show --config wrong.conf
        exits 2
        says MX-2006
        says "wrong.conf:2: "
        variable=MOXIE_$(echo "$name" | tr a-z- A-Z_)
        export "$variable=:nonsense:"
        mox config show
        exits 2
        says "$variable: "
        unset "$variable"
        if [ "$argument" = - ]; then mox config show "--$name=:nonsense:"; else mox config show "--$name" :nonsense:; fi
        exits 2
        says MX-2002
    done < <(settings)
}

@test "sections: all models, this model, another one" {
    mox config show --origin
    exits 0
    same "no file: the default" "$(origin temp)" "0 | default"
    cat >"$CONFIG" <<'.'
temp = 0.25
; a comment
[*]
  threads = 1
[moxie-demo*]
temp = 0.5
[mixtral-8x7b]
temp = 0.75
kv = q8_0
.
    mox config show "$DEMO" --origin
    same "a value for all models" "$(origin threads)" "1 | $CONFIG:4"
    same "one for this model is above it" "$(origin temp)" "0.5 | $CONFIG:6"
    same "one for another model is not used" "$(origin kv)" "f16 | default"
    mox config show some/where/mixtral-8x7b.gguf --origin
    same "a section matches without .gguf" "$(origin temp)" "0.75 | $CONFIG:8"
    mox config show --model other.gguf --origin
    same "and without a section, all's" "$(origin temp)" "0.25 | $CONFIG:1"
    echo 'threads = 2' >more.conf
    mox config show "$DEMO" --origin --config more.conf
    same "--config is above the user's" "$(origin threads)" "2 | more.conf:1"
    same "and leaves the rest" "$(origin temp)" "0.5 | $CONFIG:6"
    MOXIE_CONFIG=more.conf mox config show --origin
    same "MOXIE_CONFIG is --config" "$(origin threads)" "2 | more.conf:1"
    mox config show --origin --config none
    same "none: no file" "$(origin temp)" "0 | default"
    mox config show "$DEMO" --json
    schema moxie.config/1
    same "as JSON" "$(json settings.temp.value) $(json settings.temp.origin)" "0.5 $CONFIG:6"
    mox config path
    exits 0
    prints "$CONFIG"
    printf 'model = %s\n[mixtral-a]\nkv = q8_0\n' "$A" >"$CONFIG"
    mox config show --origin
    same "a model of the file finds its section" "$(origin kv)" "q8_0 | $CONFIG:3"
}

@test "what is shown can be read back" {
    printf 'temp = 0.5\nkv = q8_0\nram-experts = 3\n' >"$CONFIG"
    mox config show "$DEMO"
    cp out shown.conf
    mox config show "$DEMO" --config shown.conf
    check "config show writes a configuration" cmp -s out shown.conf
}

@test "what is shown is what happens" {
    printf '[*]\nram-experts = 25%%\nmax-tokens = 3\n' >"$CONFIG"
    mox run "$DEMO" --raw -p 'It was a bright' --json
    exits 0
    same "the file's budget is used" "$(json plan.experts_kept)" 12
    same "and its length" "$(json new_tokens | tr -cd , | wc -c)" 2
    MOXIE_MAX_TOKENS=2 mox run "$DEMO" --raw -p 'It was a bright' --ram-experts 50% --json
    same "the command line's budget" "$(json plan.experts_kept)" 24
    same "and the environment's length" "$(json new_tokens | tr -cd , | wc -c)" 1
    mox run "$DEMO" -p x --dry-run --ram min
    exits 0
    says '0 of 48 experts'
    MOXIE_JSON=on mox info "$DEMO"
    is_json
    MOXIE_JSON=on mox info "$DEMO" --json=off
    prints 'supported: yes'
    MOXIE_MODEL=$A mox info --json
    same "MOXIE_MODEL" "$(json model)" "$A"
}

wrong() { # LINE-OF-ERROR PATTERN CONTENT
    # shellcheck disable=SC2059 # escapes are meant
    printf "$3" >wrong.conf
    styled 2 MX-2006 run "$DEMO" -p x --config wrong.conf
    says "wrong.conf:$1: .*$2"
}

@test "wrong files: the line is named" {
    wrong 1 'unknown key rma; did you mean ram?' 'rma = 1G\n'
    wrong 2 'unknown key xyzzy' '[other]\nxyzzy = 1\n'
    wrong 2 'bytes need a unit' '\nram = 12\n'
    wrong 1 'not one of the choices' 'kv = f64\n'
    wrong 3 'not a setting' '[*]\ntemp = 1\njust words\n'
    wrong 1 'not a setting' '[*\n'
    wrong 2 'too long' "[*]\ntemp = $(printf '1%.0s' $(seq 300))\n"
    wrong 1 'zero byte' 'temp = 1\0002\n'
    wrong 1 'a flag is on or off' 'json = maybe\n'
    wrong 1 'unknown key prompt' 'prompt = hello\n'
    wrong 2 'belongs under' '[moxie-demo*]\nmodel = x.gguf\n'
    wrong 300 'more than 256' "$(printf 'temp = 1\\n%.0s' $(seq 256))$(printf '\\n%.0s' $(seq 43))temp = 1\n"
    printf 'ram = 1G\nram-experts = 10%%\n' >wrong.conf
    mox run "$DEMO" -p x --config wrong.conf
    exits 2
    says 'exclude each other'
    styled 6 MX-6002 run "$DEMO" -p x --config missing.conf
    says 'missing.conf'
    mox run "$DEMO" -p x --config .
    check "a folder is refused" test "$rc" -ne 0
}

@test "wrong environment, wrong words" {
    export MOXIE_RAM=12X
    mox run "$DEMO" -p x
    exits 2
    says MX-2006
    says 'MOXIE_RAM: .*unknown unit'
    unset MOXIE_RAM
    MOXIE_RMA=12G mox config show
    exits 0
    says 'MOXIE_RMA is not used by moxie; did you mean MOXIE_RAM?'
    printf 'rma = 1G\n' >"$CONFIG"
    mox run --help
    exits 0
    styled 2 MX-2006 config path
    mox config path --config none
    exits 0
    styled 2 MX-2002 config sow --config none
    says 'did you mean show?'
    styled 2 MX-2002 info "$DEMO" --model other.gguf --config none
}
