# moxie run: the text, what is reported, sampling, signals; of the chat what its options change (the chat itself is
# tested in a terminal that is driven key by key).
load lib

@test "the text alone on stdout, the rest on stderr" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 24 --ram-experts 40%
    exits 0
    says 'plan: '
    says 'ready in'
    says 'tok/s'
    prints_not 'moxie:'
    prints_not 'tok/s'
    at_least "text" "$(wc -c <out)" 10
    cp out plain
    mox run --raw --prompt='It was a bright' -n24 --ram-experts=40% "$DEMO"
    check "options in their other forms" cmp -s out plain
    mox run -m "$DEMO" --raw --prompt 'It was a bright' --max-tokens 24
    check "and with all experts" cmp -s out plain
    mox run --model "$DEMO" --raw -p 'It was a bright' -n 24 --json
    same "--json has the same text" "$(json text | sed 's/\\n.*//; s/\\"/"/g')" "$(head -1 plain)"
    mox run --raw -p 'It was a bright' -n 4
    exits 0
    says 'built-in demo model'
}

@test "--json: counts that add up" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 24 --ram-experts 40% --json
    exits 0
    schema moxie.run/1
    same "uses add up" "$(json hits.uses)" \
        "$(($(json hits.ram.uses) + $(json hits.late.uses) + $(json hits.file.uses)))"
    same "phases add up" "$(json hits.uses)" "$(($(json hits_prefill.uses) + $(json hits_decode.uses)))"
    same "bytes add up" "$(json bytes_read.total)" \
        "$(($(json bytes_read.fill) + $(json bytes_read.demand) + $(json bytes_read.prefetch)))"
    same "uses = tokens x layers x ranks" "$(json hits.uses)" "$(($(json tokens | tr -cd , | wc -c) * 12 + 12))"
    same "hash has 32 digits" "$(json logits_xxh3 | tr -d '0-9a-f' | wc -c),$(json logits_xxh3 | wc -c)" 1,33
    at_least "actual bytes are the plan's or less" "$(json plan.total_bytes)" "$(json actual_bytes)"
}

@test "the same tokens whatever the options of the engine" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 12 --json
    tokens=$(json new_tokens)
    mox run "$DEMO" --raw -p 'It was a bright' -n 12 --json --ram min --ctx 64 --policy lru --margin 1 --layer-shares 123456 --look-ahead off \
        --threads 1 --batch 2 --io pread --io-depth 4 --tuned off --isa scalar --verify always --hugepages off --record trace --timings --live off --config none
    exits 0
    same "tokens" "$(json new_tokens)" "$tokens"
    same "--ctx" "$(json plan.ctx)" 64
    same "--batch" "$(json plan.batch)" 2
    same "--threads" "$(json plan.threads)" 1
    same "--policy" "$(json policy)" lru
    same "--look-ahead" "$(json look_ahead)" off
    check "--isa" sh -c "'$JSONQ' out device | grep -q scalar"
    check "--io" sh -c "'$JSONQ' out io | grep -q pread"
    check "--record wrote a trace" test "$(head -c 4 trace)" = MOXT
    mox run "$DEMO" --raw -p 'It was a bright' -n 12 -c 64 -t 1 -b 2 --json
    same "short forms" "$(json plan.ctx) $(json plan.threads) $(json plan.batch)" "64 1 2"
    mox run "$DEMO" --raw -p 'It was a bright' -n 4 --kv q8_0 --json
    same "--kv" "$(json plan.kv)" q8_0
    mox run "$DEMO" --raw -p 'It was a bright' -n 4 --act f32 --json
    same "--act" "$(json act)" f32
    says audit
    mox run "$DEMO" --raw -p 'It was a bright' --ram 40M --dry-run --json
    same "--ram" "$(json plan.budget_bytes)" $((40 << 20))
}

@test "--dry-run: a plan and no text" {
    mox run "$DEMO" --dry-run --json --ram min
    exits 0
    schema moxie.plan/1
    same "the floor is the plan" "$(json plan.total_bytes)" "$(json plan.floor_bytes)"
    same "open reserves what the plan says" "$(json actual_bytes)" \
        "$(($(json plan.total_bytes) - $(json plan.process_bytes)))"
}

@test "--dry-run --record: a trace's memory is planned, its file is not begun" {
    total() { mox run "$DEMO" --raw -p x -n 2 --ram-experts 40% --json "$@" && exits 0 && json plan.total_bytes; }
    same "planned" "$(total --dry-run --record t.trace --timings)" "$(total --record run.trace --timings)"
    check "no file" test ! -e t.trace
}

@test "--miss auto: what was measured is said, and not where nothing missed" {
    played() { mox run "$DEMO" --raw -p 'It was a bright' -n 60 --device cpu:vram=64M --miss auto "$@" && exits 0; }
    played --vram-experts 40%
    says 'miss: auto: [a-z]* (a step with cpu [0-9.]* ms, copy [0-9.]* ms, split [0-9.]* ms)$'
    played --vram-experts 100%
    says_not 'miss: auto'
}

@test "--heat: the experts that were used are there the next time" {
    fill() { mox run "$DEMO" --raw -p 'It was a bright' -n 4 --ram-experts 40% --json "$@" && exits 0 && json fill_order; }
    same "the first time" "$(fill)" "in turn"
    same "the next time" "$(fill)" "saved heat"
    same "not with off" "$(fill --heat off)" "in turn"
    same "another file" "$(fill --heat my.heat)" "in turn"
    check "it is there" test -s my.heat
    same "and is used" "$(fill --heat my.heat)" "saved heat"
}

@test "tokens: --no-bos, --special, --all-logits" {
    mox run "$DEMO" --raw -p 'It was' -n 1 --json
    bos=$(json prompt_tokens)
    mox run "$DEMO" --raw -p 'It was' -n 1 --no-bos --json
    same "--no-bos" "1,$(json prompt_tokens | tr -d '[] ')" "$(echo "$bos" | tr -d '[] ')"
    mox run "$DEMO" --raw -p '<s>' -n 1 --no-bos --special --json
    same "--special" "$(json prompt_tokens | tr -d '[] ')" 1
    mox run "$DEMO" --raw -p 'It was' -n 1 --json
    hash=$(json logits_xxh3)
    mox run "$DEMO" --raw -p 'It was' -n 1 --all-logits --json
    differ "--all-logits" "$(json logits_xxh3)" "$hash"
    hash=$(json logits_xxh3)
    json tokens | tr -d '[]' | tr , ' ' >ids
    mox logits "$DEMO" --tokens ids --json
    same "run hashes the logits of its tokens" "$(json logits_xxh3)" "$hash"
}

answer() { mox run "$DEMO" --raw -p 'It was a bright' -n 16 --json "$@"; }

@test "--temp and --seed: sampling depends on the seed alone" {
    answer --temp 0.9 --seed 5
    first=$(json new_tokens)
    answer --temp 0.9 --seed 5 --threads 1
    same "same seed, same tokens" "$(json new_tokens)" "$first"
    answer --temp 0.9 --seed 6
    differ "another seed" "$(json new_tokens)" "$first"
}

@test "--top-k, --top-p, --min-p, --typical narrow the choice" {
    answer
    greedy=$(json new_tokens)
    answer --temp 1 --seed 3
    free=$(json new_tokens)
    differ "sampling is not greedy" "$free" "$greedy"
    for option in '--top-k 1' '--top-p 0.0001' '--min-p 1'; do
        # shellcheck disable=SC2086 # an option and its value
        answer --temp 1 --seed 3 $option
        same "$option leaves the likeliest" "$(json new_tokens)" "$greedy"
    done
    answer --temp 1 --seed 3 --typical 0.01
    differ "--typical chooses otherwise" "$(json new_tokens)" "$free"
}

@test "--repeat-penalty, --frequency-penalty, --presence-penalty, --penalty-last, --logit-bias" {
    repeats() { json new_tokens | tr -d '[] ' | tr , '\n' | sort | uniq -d | wc -l; }
    answer --logit-bias 17=10000
    at_least "a forced token repeats" "$(repeats)" 1
    same "and is the only one" "$(json new_tokens | tr -d '[] ' | tr , '\n' | sort -u)" 17
    answer --repeat-penalty 100 --penalty-last 256
    same "a strong penalty repeats nothing" "$(repeats)" 0
    for penalty in --frequency-penalty --presence-penalty; do
        answer --logit-bias 17=1000,29=999 $penalty 2 --penalty-last 64
        at_least "$penalty gives the second a turn" "$(json new_tokens | tr -d '[] ' | tr , '\n' | sort -u | wc -l)" 2
    done
    answer
    first=$(json new_tokens | tr -d '[] ' | cut -d, -f1)
    answer --logit-bias "$first=-10000"
    check "a banned token does not come" sh -c "! '$JSONQ' out new_tokens | tr -d '[] ' | tr , '\n' | grep -qx $first"
}

@test "--stop: the text up to the string, wherever tokens end" {
    answer
    plain=$(json text)
    word=$(printf '%s' "$plain" | awk '{ print $3 }')
    for stop in "$word" "${word:1}"; do
        answer --stop 'never in it' --stop "$stop"
        exits 0
        same "stopped by a string" "$(json stop)" stop
        same "the text before it" "$(json text)" "${plain%%"$stop"*}"
    done
    answer --stop 'never in it'
    same "without it the whole text" "$(json text)" "$plain"
    mox run "$DEMO" --raw -p 'It was a bright' -n 24 --stop "$word"
    check "the same without --json" sh -c "! grep -qF '$word' out"
}

@test "ranges of sampling options" {
    refuses run --temp -1 101 x
    refuses run --top-p 2 -0.1
    refuses run --min-p 2
    styled 2 MX-2003 run "$DEMO" -p a --gpu 0 --device cpu
    refuses run --typical 2
    refuses run --top-k -1 x
    refuses run --max-tokens -1 x
    refuses run --repeat-penalty 0
    refuses run --frequency-penalty 3
    refuses run --presence-penalty x
    refuses run --penalty-last 257 0
    refuses run --logit-bias 17 x=1 1=nan
    refuses run --stop ''
}

@test "the prompt: words, -p, -f, standard input; all the same" {
    mox run "$DEMO" -p 'tell me' -n 5
    exits 0
    cp out answer
    printf 'tell me' >prompt.txt
    for words in 'tell me' '-f prompt.txt' '--file prompt.txt' '--prompt=tell\ me'; do
        eval "mox run '$DEMO' $words -n 5"
        exits 0
        check "$words" cmp -s out answer
    done
    mox_in run "$DEMO" -n 5 <prompt.txt
    check "standard input" cmp -s out answer
    mox_in run "$DEMO" -f - -n 5 <prompt.txt
    check "-f -" cmp -s out answer
    styled 6 MX-6002 run "$DEMO" -f missing.txt
    mox run "$DEMO" -p 'tell me' -f prompt.txt -n 5
    exits 2
    mox run "$DEMO" -n 5
    exits 2
    stdout_empty
}

@test "--system, --chat-template, --raw: what the model is given" {
    mox run "$DEMO" -p 'tell me' -n 1 --json
    same "the model's own template" "$(json template)" mistral
    plain=$(json prompt_tokens)
    mox run "$DEMO" -p 'tell me' -n 1 --json -s 'You are a king'
    system=$(json prompt_tokens)
    differ "--system is part of the prompt" "$system" "$plain"
    mox run "$DEMO" -p 'tell me' -n 1 --json --system 'You are a king'
    same "-s is --system" "$(json prompt_tokens)" "$system"
    mox run "$DEMO" -p 'tell me' -n 1 --json --raw
    differ "--raw" "$(json prompt_tokens)" "$plain"
    mox_in tokenize "$DEMO" < <(printf 'tell me')
    raw=$(cat out)
    mox run "$DEMO" -p 'tell me' -n 1 --json --raw
    same "--raw is the text alone" "$(json prompt_tokens | tr -d '[]' | tr , ' ')" "$raw"
    mox run "$A" -p 'tell me' -n 1 --json --chat-template mistral
    same "--chat-template" "$(json template)" mistral
    mox run "$A" -p 'tell me' -n 1
    exits 0
    says 'no chat template: the text is continued'
    styled 3 MX-3012 run "$A" -p 'tell me' --system 'You are a king'
    says 'chat-template NAME'
    refuses run --chat-template no-such-name
    printf '{{ enable_thinking }} {{ tools[0].name }} {{ effort }} {{ messages[0].content }}' >t.jinja
    printf '[{"name": "f"}]' >tools.json
    mox_in tokenize "$A" --no-bos < <(printf 'False f high tell me')
    ids=$(cat out)
    mox run "$A" -p 'tell me' -n 1 --json --chat-template ./t.jinja --think off --tools tools.json --kwargs '{"effort": "high"}'
    same "--think, --tools, --kwargs" "$(json prompt_tokens | tr -d '[]' | tr , ' ')" "$ids"
    refuses run --overflow truncate
}

terminal() { # OPTIONS; lines on standard input are typed into a chat
    local command
    printf -v command '%q ' "$BIN" run "$DEMO" -n 6 "$@"
    rc=0 last="typed into: $command"
    TERM=xterm script -qefc "$command" typed >/dev/null || rc=$?
    cp typed out && cp typed err
    exits 0
}

@test "a chat: --verbose says tokens, speed and tiers after each answer" {
    terminal --verbose < <(printf 'hello\n/bye\n')
    prints ' tok | .* tok/s | first .* | hits RAM [0-9]* % file [0-9]* %'
    terminal -v < <(printf 'hello\n/bye\n')
    prints ' tok | .* tok/s'
    terminal < <(printf 'hello\n/bye\n')
    prints_not ' tok | .* tok/s'
}

@test "a chat: history is kept for its owner alone, and not with --no-history" {
    history=$XDG_STATE_HOME/moxie/history
    terminal --no-history < <(printf 'hello\n/bye\n')
    check "no history" test ! -e "$history"
    terminal < <(printf 'hello\n/bye\n')
    check "a history" grep -q hello "$history"
    same "its mode" "$(stat -c %a "$history")" 600
}

@test "a chat: what /save writes is a document" {
    terminal < <(printf 'hello\n/save talk.json\n/bye\n')
    cp talk.json out
    schema moxie.chat/1
    same "the message" "$(json messages.0.content)" hello
}

@test "a chat: --overflow refuses with both numbers, or forgets the oldest turns" {
    long() { printf 'hello there my friend\nand again a long one\nmore and more of it\n/bye\n'; }
    terminal --ctx 48 < <(long)
    says 'the context has 48 \[MX-2004\]'
    terminal --ctx 48 --overflow shift < <(long)
    says 'context of 48 tokens full: the oldest [0-9]* turns\? dropped'
    says_not 'MX-2004'
}

# Ctrl-C in the middle of an answer: what was printed stays and is whole.
stop_with() { # SIGNAL CODE
    set -m # a background job ignores SIGINT unless job control is on
    "$BIN" run "$DEMO" --raw -p 'It was a bright' -n 0 --ctx 65536 --temp 1 --threads 1 >out 2>err </dev/null &
    pid=$! last="run, then SIG$1"
    for _ in $(seq 200); do
        [ "$(wc -c <out)" -le 40 ] || break
        sleep 0.05
    done
    printed=$(wc -c <out)
    kill -s "$1" $pid
    rc=0
    wait $pid || rc=$?
    exits "$2"
    at_least "text was being printed" "$printed" 41
    at_least "the text is kept" "$(wc -c <out)" "$printed"
    same "the last line is complete" "$(tail -c1 out | od -An -c | tr -d ' ')" '\n'
    says 'tok/s'
    check "the text is whole UTF-8" iconv -f utf-8 -t utf-8 out >/dev/null
}

@test "SIGINT ends an answer in order: 130" {
    stop_with INT 130
}

@test "SIGTERM ends an answer in order: 143" {
    stop_with TERM 143
}

@test "a prompt that does not fit, and an empty one" {
    mox run "$DEMO" --raw -p x --ctx 4 -n 1 --ram-experts 100%
    exits 0
    mox run "$DEMO" --raw -p 'one two three four five six seven eight nine ten' --ctx 4
    exits 1
    says 'MX-2004'
    says '^try:  .*--ctx'
    mox run "$DEMO" --raw -p ''
    exits 2
    stdout_empty
}

@test "devices: experts in VRAM are counted, and the plan without one is as before" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 4 --json
    text=$(json text)
    same "no device" "$(json plan.devices 2>/dev/null || true)" ""
    mox run "$DEMO" --raw -p 'It was a bright' -n 4 --json --device cpu:vram=64M --vram-experts 12 --miss auto --cuda-graph off
    same "the text" "$(json text)" "$text"
    says 'VRAM'
    mox run "$DEMO" --raw -p 'It was a bright' -n 4 --json --device cpu:vram=64M --vram 50%
    same "the text" "$(json text)" "$text"
}
