# moxie tune: what it measures, keeps and saves; what `run` and `plan` make of it; what is refused.
load lib

saved() { echo "$XDG_CONFIG_HOME"/moxie/tuned/*.conf; }
# A file as `tune --save` writes it, for this model and machine, with settings of the test's choice.
settings_are() { # LINE...
    [ -f "$(saved)" ] || { mox tune "$DEMO" --minutes 0.05 --threads 1 --batch 32 --save && exits 0; }
    sed -i '/^\[settings\]/q' "$(saved)"
    printf '%s\n' "$@" >>"$(saved)"
}

# Tunes for longer and longer, as a busy machine may need, until everything wanted is printed.
tunes() { # PATTERN... -- ARGUMENTS...
    local wanted=() pattern minutes missing
    while [ "$1" != -- ]; do
        wanted+=("$1")
        shift
    done
    for minutes in 0.06 0.6 4; do
        mox tune --minutes "$minutes" "${@:2}"
        exits 0
        missing=0
        for pattern in "${wanted[@]}"; do
            grep -q -- "$pattern" out || missing=1
        done
        [ "$missing" = 1 ] || return 0
    done
    failed "prints ${wanted[*]}"
}

@test "ceilings, settings in turns, the same logits; saved, and taken by run and plan" {
    tunes '"same_logits"' -- "$DEMO" --save --json
    schema moxie.tune/1
    for rate in ram_bytes_per_s file_bytes_per_s integer_ops_per_s; do
        at_least "$rate" "$(json measured.$rate)" 1000000
    done
    at_least "decode" "$(json before.decode_tok_s)" 1
    same "logits" "$(json trials.0.same_logits)" true
    kept=$(json trials.0.kept) gain=$(json trials.0.gain)
    [ "$kept" = false ] || at_least "what is kept is 3 % faster" "$gain" 1.03
    same "where" "$(json saved)" "$(saved)"
    grep -q '^machine = .* CPUs, .* GiB' "$(saved)" || failed "the machine is named"
    settings_are 'threads = 1' 'batch = 32'
    mox run "$DEMO" --raw -p 'Once' -n 2 --json
    exits 0
    says "^moxie: tuned (.*conf): --threads 1 --batch 32"
    same "threads" "$(json plan.threads)" 1
    same "batch" "$(json plan.batch)" 32
    mox plan "$DEMO" --json
    says '^moxie: tuned '
    same "the plan is the run's" "$(json plan.batch)" 32
    # the rates in the file are those of as many threads as were tuned with
    sed -i 's/^ram-read = .*/ram-read = 7e9/; s/^file-read = .*/file-read = 3e9/; s/^threads = .*/threads = 1/' "$(saved)"
    mox plan "$DEMO"
    prints 'this one, measured by moxie tune: RAM read 7.0 GB/s with 1 threads, file 3.0 GB/s'
    mox plan "$DEMO" --threads 2
    prints 'measured now: RAM read .* with 2 threads'
    mox run "$DEMO" --raw -p 'Once' -n 2 --batch 64 --tuned off --json
    says_not 'tuned'
    MOXIE_BATCH=16 mox run "$DEMO" --raw -p 'Once' -n 2 --json
    says '^moxie: tuned (.*): --threads 1,'
    same "the environment wins" "$(json plan.batch)" 16
    mox plan "$DEMO" --gpu-spec gen4
    says_not 'tuned' # another machine's plan
}

@test "what is searched where experts are in the file; what is given stays" {
    mox tune "$A" --minutes 0.08 --ram-experts 50% --tokens-from random --prompts /dev/null
    exits 3
    says 'no tokenizer'
    tunes '"option":"policy"' '"option":"margin"' '"option":"look-ahead"' '"option":"io"' '"option":"io-depth"' -- \
        "$A" --ram-experts 50% --tokens-from random --json
    ! grep -q '"other' out
    mox tune "$DEMO" --minutes 0.05 -t 1 -b 64 --ctx 256 --kv q8_0 --ram 20M --policy lru --look-ahead off --io pread --seed 7 \
        --io-depth 4 --isa avx2 --verify off --act int8 --hugepages off --heat off --json
    exits 2 # tune keeps no heat
    mox tune --model "$DEMO" --config none --live off --minutes 0.05 --threads 1 --batch 64 --ctx 256 --kv q8_0 --ram 20M --policy lru \
        --margin 0.5 --layer-shares even --look-ahead off --io pread --io-depth 4 --isa auto --verify off --act int8 \
        --hugepages off --json
    exits 0
    same "nothing is left to search" "$(json options)" ''
    [ ! -e "$XDG_CONFIG_HOME/moxie/tuned" ] || failed "nothing is saved without --save"
    printf 'It was\n\nThe sea\n' >prompts
    mox tune -m "$DEMO" -t 1 -b 64 -c 256 --minutes 0.05 --prompts prompts
    exits 0
    says 'prompts: prompts; at most'
    prints 'as it was .* tok/s'
    tunes '"option":"miss"' '"option":"vram-experts"' -- "$DEMO" --threads 1 --device cpu:vram=24M --vram 10M --ram-experts 10% --policy lru --look-ahead off --io-depth 8 \
        --io pread --json
    for rate in link link_down vram; do
        at_least "$rate" "$(json measured.${rate}_bytes_per_s)" 1000000
    done
    same "whose" "$(json measured.device)" cpu
    says '^moxie: --vram-experts [0-9]* against [0-9]*: [0-9.]* s against [0-9.]*, [0-9.]* times as fast, faster in [0-3] of [1-3] pair'
    says 'each setting in up to 3 pairs of turns'
    mox tune "$DEMO" --minutes 0.05 --threads 1 --device cpu:vram=24M --vram-experts 12 --miss cpu --cuda-graph off --ram 100% --json
    exits 0
}

@test "predictions are made and measured" {
    printf -- '--ram-experts 50%%\n# a remark\n--ram-experts 25%% --policy lru\n' >lines
    mox tune "$DEMO" --threads 1 --predict lines
    exits 0
    prints '^| --ram-experts 50% | 24 of 48 |'
    prints '^2 settings, worst '
    mox tune "$DEMO" --predict nowhere
    exits 6
}

@test "lines to predict that are none: said before anything is measured" {
    local line
    for line in '--ram-experts' 'fast please' '--threads 0' '--policy best' '--nonsense 3' '--model other.gguf' '--device cuda' \
        '--minutes 3'; do
        printf -- '--threads 1\n%s\n' "$line" >lines
        styled 2 MX-2002 tune "$DEMO" --predict lines
        says 'lines:2: '
        says_not 'measuring'
    done
    printf '# a remark\n\n' >lines
    styled 2 MX-2002 tune "$DEMO" --predict lines
    says 'no line of options'
    printf -- '--threads 1\n\0\1\2' >lines
    styled 2 MX-2002 tune "$DEMO" --predict lines
    styled 2 MX-2003 tune "$DEMO" --predict /dev/null --device cpu:vram=24M
}

@test "shares of layers: dealt as they say, by experts and by bytes; nonsense is refused" {
    mox run "$DEMO" --raw -p a -n 1 --layer-shares 123456 --ram-experts 21 --record run.trace --json
    exits 0
    same "kept" "$(json plan.experts_kept)" 21
    same "by shares" "$(json plan.kept_per_layer.0),$(json plan.kept_per_layer.5)" 1,6
    hash=$(json logits_xxh3)
    mox run "$DEMO" --raw -p a -n 1 --ram-experts 21 --margin 2 --json
    same "the same logits" "$(json logits_xxh3)" "$hash"
    mox plan "$DEMO" --layer-shares 100000 --ram 20M --margin 1 --gpu-spec gen4 --json
    exits 0
    same "the first layer has all it can have" "$(json experts.ram_per_layer.0)" 8
    for shares in 1 0000000 000000 12345x ''; do
        styled 2 MX-2002 plan "$DEMO" --layer-shares "$shares"
    done
    refuses run --margin -1 101 hot
}

@test "Ctrl-C: what is known by then" {
    local seconds
    for seconds in 2 8 30 100; do # until a busy machine has measured something
        rc=0
        timeout -s INT "$seconds" "$BIN" tune "$DEMO" --ram-experts 50% --minutes 5 >out 2>err </dev/null || rc=$?
        last="timeout -s INT $seconds moxie tune"
        same "exit code, timeout's own for a signal" "$rc" 124
        ! grep -q 'as it was' out || break
    done
    prints 'as it was .* tok/s'
}

@test "files of other models and machines, and what is no such file" {
    settings_are 'threads = 1'
    cp "$(saved)" mine.conf
    sed 's/^machine = .*/machine = Z80, 1 CPUs, 0 GiB, plain C/' mine.conf >other.conf
    mox run "$DEMO" --raw -p a -n 1 --tuned mine.conf
    exits 0
    says 'tuned (mine.conf): --threads 1'
    styled 2 MX-2003 plan "$DEMO" --tuned other.conf
    says 'for another machine (Z80'
    mox run "$A" --tuned mine.conf -p a --raw -n 1
    exits 2
    says 'for another model (moxie-demo'
    echo 'threads = 1' >config.conf
    styled 2 MX-2006 plan "$DEMO" --tuned config.conf
    says 'not a file that moxie tune --save wrote'
    printf '\0\1\2' >zero.conf
    styled 2 MX-2006 plan "$DEMO" --tuned zero.conf
    styled 6 MX-6002 plan "$DEMO" --tuned nowhere.conf
    # found by itself: a line, and the run goes on
    sed -i 's/^model-id = .*/model-id = 0123456789abcdef/' "$(saved)"
    mox run "$DEMO" --raw -p a -n 1
    exits 0
    says 'is for another model of that name: ignored'
    mv "$(saved)" "$(saved | sed 's/-[0-9a-f]*.conf/-00000000.conf/')"
    mox run "$DEMO" --raw -p a -n 1
    exits 0
    says 'is for another machine: ignored'
    rm "$(saved)"
    settings_are 'nonsense = 1'
    mox plan "$DEMO"
    exits 2
    says 'unknown key nonsense'
    settings_are 'threads = many'
    styled 2 MX-2006 plan "$DEMO"
    says 'conf:[0-9]*: --threads many'
    settings_are 'threads = 1'
    for wrong in ram-read=-3 file-read=much token-seconds=nan threads=1e30; do
        sed "s/^${wrong%=*} = .*/${wrong%=*} = ${wrong#*=}/" "$(saved)" >wrong.conf
        styled 2 MX-2006 plan "$DEMO" --tuned wrong.conf
        says "${wrong%=*} = ${wrong#*=} was never measured"
    done
    head -c 60 "$(saved)" >short.conf
    styled 2 MX-2006 plan "$DEMO" --tuned short.conf
}

@test "wrong values" {
    refuses tune --minutes 0 -1 x 2000
    refuses tune --io-depth 0 65 x
    styled 2 MX-2003 tune "$DEMO" --gpu 0 --device cpu
    styled 4 MX-4001 tune "$DEMO" --ram 1M
    styled 2 MX-2002 tune "$DEMO" --heat off
    mox tune "$DEMO" --ctx 16 --minutes 0.05
    exits 1
    says 'the context'
    XDG_CONFIG_HOME='' HOME='' mox tune "$DEMO" --minutes 0.05 --threads 1 --batch 32 --save
    exits 6
    says 'no folder'
}
