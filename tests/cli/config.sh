# Settings: command line over environment over files over defaults, each with its origin; wrong ones are named.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
mkdir -p "$XDG_CONFIG_HOME/moxie"
CONFIG=$XDG_CONFIG_HOME/moxie/config
rm -f "$CONFIG"

origin() { sed -n "s/^$1 = \(.*[^ ]\)  *; \(.*\)$/\1 | \2/p" "$OUT"; } # "VALUE | ORIGIN" of a key
run config show --origin
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
run config show "$DEMO" --origin
same "a value for all models" "$(origin threads)" "1 | $CONFIG:4"
same "one for this model is above it" "$(origin temp)" "0.5 | $CONFIG:6"
same "one for another model is not used" "$(origin kv)" "f16 | default"
run config show some/where/mixtral-8x7b.gguf --origin
same "a section matches without .gguf" "$(origin temp)" "0.75 | $CONFIG:8"
run config show other.gguf --origin
same "and without a section, all's" "$(origin temp)" "0.25 | $CONFIG:1"
export MOXIE_TEMP=0.125
run config show "$DEMO" --origin
same "the environment is above files" "$(origin temp)" "0.125 | environment, MOXIE_TEMP"
run config show "$DEMO" --origin --temp 2
same "the command line is above all" "$(origin temp)" "2 | command line"
unset MOXIE_TEMP
echo 'threads = 2' >more.conf
run config show "$DEMO" --origin --config more.conf
same "--config is above the user's" "$(origin threads)" "2 | more.conf:1"
same "and leaves the rest" "$(origin temp)" "0.5 | $CONFIG:6"
MOXIE_CONFIG=more.conf run config show --origin
same "MOXIE_CONFIG is --config" "$(origin threads)" "2 | more.conf:1"
run config show --origin --config none
same "none: no file" "$(origin temp)" "0 | default"
run config show "$DEMO" --json
is_json
same "as JSON" "$(json settings.temp.value) $(json settings.temp.origin)" "0.5 $CONFIG:6"
run config path
exits 0
prints "$CONFIG"

# what is shown can be read back
run config show "$DEMO"
cp "$OUT" shown.conf
run config show "$DEMO" --config shown.conf
check "config show writes a configuration" cmp -s "$OUT" shown.conf

# and what is shown is what happens
printf '[*]\nram-experts = 25%%\nmax-tokens = 3\n' >"$CONFIG"
run run "$DEMO" --raw -p 'It was a bright' --json
exits 0
same "the file's budget is used" "$(json plan.experts_kept)" 12
same "and its length" "$(json new_tokens | tr -cd , | wc -c)" 2
MOXIE_MAX_TOKENS=2 run run "$DEMO" --raw -p 'It was a bright' --ram-experts 50% --json
same "the command line's budget" "$(json plan.experts_kept)" 24
same "and the environment's length" "$(json new_tokens | tr -cd , | wc -c)" 1
run run "$DEMO" -p x --dry-run --ram min
exits 0
says '0 of 48 experts'
MOXIE_JSON=on run info "$DEMO"
is_json
MOXIE_JSON=on run info "$DEMO" --json=off
prints 'supported: yes'
MOXIE_MODEL=$DATA/models/mixtral-a.gguf run info --json
same "MOXIE_MODEL" "$(json model)" "$DATA/models/mixtral-a.gguf"
printf 'model = %s\n[mixtral-a]\nkv = q8_0\n' "$DATA/models/mixtral-a.gguf" >"$CONFIG"
run config show --origin
same "a model of the file finds its section" "$(origin kv)" "q8_0 | $CONFIG:3"

# wrong ones
wrong() { # LINE-OF-ERROR PATTERN CONTENT
    printf "$3" >wrong.conf
    run run "$DEMO" -p x --config wrong.conf
    exits 2
    says 'MX-2006'
    says "wrong.conf:$1: .*$2"
    stdout_empty
}
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
run run "$DEMO" -p x --config wrong.conf
exits 2
says 'exclude each other'
run run "$DEMO" -p x --config missing.conf
exits 6
says 'missing.conf'
run run "$DEMO" -p x --config .
check "a folder is refused" test "$rc" -ne 0
MOXIE_RAM=12X run run "$DEMO" -p x
exits 2
says 'MOXIE_RAM: .*unknown unit'
MOXIE_RMA=12G run config show
exits 0
says 'MOXIE_RMA is not used by moxie; did you mean MOXIE_RAM?'
printf 'rma = 1G\n' >"$CONFIG"
run run --help
exits 0
run config path
exits 2
run config path --config none
exits 0
run config sow --config none
exits 2
run info "$DEMO" --model other.gguf --config none
exits 2
finish
