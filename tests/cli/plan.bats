# moxie plan: what it says is what is taken, from headers alone; speeds and changes follow from it.
load lib

headers() { [ -e mixtral-8x7b.gguf ] || "$HEADERS" .; }
field() { json "$1" "$2"; }

# The plan's lines are the lines of the run, and their sum without the program is what the arenas take.
same_as_run() { # MODEL OPTIONS...
    local model=$1 key
    shift
    mox plan "$model" "$@" --gpu-spec gen4 --json
    exits 0
    cp out planned
    mox run "$model" "$@" --dry-run --json
    exits 0
    for key in dense_bytes kv_bytes buffer_bytes io_bytes transit_bytes expert_bytes metadata_bytes total_bytes experts_kept; do
        same "$model $*: $key" "$(field plan.$key planned)" "$(json plan.$key)"
    done
    taken=$(json actual_bytes) total=$(field plan.total_bytes planned) program=$(field plan.process_bytes planned)
    check "$model $*: $taken bytes taken of $total" awk -v t="$taken" -v p="$((total - program))" \
        'BEGIN { d = t > p ? t - p : p - t; exit !(d <= p / 100 || d <= 16777216) }'
    same "tiers add up" "$(field bytes.ram.total planned)" "$total"
    pairs=$((pairs + 1))
}

@test "the plan is the allocation: real shapes from headers, the demo model, fixtures" {
    headers
    pairs=0
    for budget in '--ram min' '--ram 4G' '--ram 12G' '--ram 40G' '--ram-experts 25% -c 8192 --kv q8_0'; do
        # shellcheck disable=SC2086
        same_as_run mixtral-8x7b.gguf $budget
    done
    for budget in '--ram min' '--ram 24G' '--ram-experts 100 -b 64'; do
        # shellcheck disable=SC2086
        same_as_run mixtral-8x22b.gguf $budget
        # shellcheck disable=SC2086
        same_as_run qwen3-30b-a3b.gguf $budget
    done
    for budget in '--ram min' '--ram 96G --ctx 32768' '--ram-experts 1%'; do
        # shellcheck disable=SC2086
        same_as_run deepseek-v3.gguf $budget
    done
    for budget in '--ram min' '--ram 20M' '--ram 1G -t 2' '--ram-experts 50% --policy lru'; do
        # shellcheck disable=SC2086
        same_as_run "$DEMO" $budget
    done
    for model in "$DATA"/models/*.gguf; do
        case $model in *split-0000[23]*) continue ;; esac
        same_as_run "$model" --ram min
    done
    at_least pairs $pairs 30
}

# The same experts in the memory of played devices and in RAM, and the same bytes, as a run.
same_with_devices() { # MODEL OPTIONS...
    local model=$1 device sum=0
    shift
    mox plan "$model" --tuned off "$@" --json
    exits 0
    cp out planned
    mox run "$model" --tuned off "$@" --dry-run --json
    exits 0
    same "$*: VRAM" "$(field experts.vram planned)" "$(json plan.experts_in_vram)"
    same "$*: RAM" "$(field experts.ram planned)" "$(json plan.experts_kept)"
    same "$*: total" "$(field bytes.ram.total planned)" "$(json plan.total_bytes)"
    for device in 0 1; do
        [ $device = 1 ] && [ "$devices" = 1 ] || sum=$((sum + $(json plan.devices.$device.total_bytes)))
    done
    same "$*: bytes of devices" "$(field bytes.vram.total planned)" $sum
    at_least "$*: predicted" "$(field decode_tok_s planned)" 1
    pairs=$((pairs + 1))
}

@test "the plan is the allocation in VRAM too" {
    pairs=0
    for devices in 1 2; do
        for device in 16M 24M; do
            for ram in '--ram 40M' '--ram-experts 30%'; do
                for vram in '--vram 80%' '--vram-experts 8' '--vram-experts 40%' '--vram auto'; do
                    # shellcheck disable=SC2086
                    same_with_devices "$DEMO" --device cpu:vram=$device,n=$devices $ram $vram
                done
            done
        done
    done
    at_least pairs $pairs 30
    styled 2 MX-2003 plan "$DEMO" --device cpu:vram=12M --gpu-spec 4080
    mox plan "$DEMO" --device cpu:vram=24M --tuned off
    exits 0
    prints '^machine: this one, .*device: the CPU, which plays it, copies up [0-9.]* GB/s, down'
    prints '^Fits'
    mox plan "$DEMO" --device cpu:vram=24M --tuned off --ram 40M --sweep vram=17M..24M --json
    exits 0
    same "all of it" "$(json sweep_vram.8.bytes)" $((24 << 20))
    check "more of it holds more" [ "$(json sweep_vram.8.experts_vram)" -gt "$(json sweep_vram.0.experts_vram)" ]
    mox plan "$DEMO" --device cpu:vram=1M --tuned off
    exits 4
}

@test "a machine from the table: tiers, ways with their numbers, bottleneck, changes" {
    headers
    mox plan mixtral-8x7b.gguf --gpu-spec 4060ti16,ddr5-6000 --assume-ram 32G --json
    exits 0
    schema moxie.plan/1
    same fits "$(json fits)" true
    same "all experts" "$(($(json experts.vram) + $(json experts.ram) + $(json experts.file)))" 256
    vram=$(json bytes.vram.total)
    check "within the card" awk -v v="$vram" 'BEGIN { exit !(v <= 16 * 2^30 && v > 15 * 2^30) }'
    same "sum of VRAM" "$(($(json bytes.vram.dense) + $(json bytes.vram.kv) + $(json bytes.vram.buffers) + $(json bytes.vram.reserve) + $(json bytes.vram.experts)))" "$vram"
    differ "way" "$(json misses.way)" copy
    check "the CPU beats copies" awk -v a="$(json misses.cpu_tok_s)" -v b="$(json misses.copy_tok_s)" 'BEGIN { exit !(a > 2 * b) }'
    check "decode" awk -v t="$(json decode_tok_s)" 'BEGIN { exit !(t > 8 && t < 30) }'
    check "prefill" awk -v t="$(json prefill_tok_s)" 'BEGIN { exit !(t > 50 && t < 5000) }'
    mox plan mixtral-8x7b.gguf --gpu-spec 4060ti16,ddr5-6000 --assume-ram 32G --assume-vram 12G
    exits 0
    prints 'VRAM'
    prints 'misses .*CPU 60.0 GB/s gives .* copies 13.0 GB/s'
    prints 'from a prior for models of few large experts'
    prints '^Faster: .*--kv q8_0 '
    prints 'decode .*predicted; .* % of a token is '
}

@test "sweeps and 4 where it does not fit" {
    headers
    mox plan mixtral-8x7b.gguf --gpu-spec 4090 --sweep vram=8G..24G --json
    exits 0
    same "sizes" "$(json sweep_vram.8.bytes)" $((24 << 30))
    check "more is faster" awk -v a="$(json sweep_vram.1.decode_tok_s)" -v b="$(json sweep_vram.8.decode_tok_s)" 'BEGIN { exit !(b > a) }'
    mox plan mixtral-8x7b.gguf --gpu-spec gen4 --sweep ram=1G..40G
    exits 0
    prints '1.0 GiB  does not fit'
    styled 4 MX-4001 plan mixtral-8x7b.gguf --gpu-spec gen4 --ram 1G
    says 'moxie plan mixtral-8x7b.gguf --gpu-spec gen4 --ram 1'
    styled 4 MX-4001 plan deepseek-v3.gguf --gpu-spec 3060 --assume-ram 500G
    styled 4 MX-4001 plan mixtral-8x7b.gguf --gpu-spec 4080 --assume-ram 1M
    mox plan mixtral-8x7b.gguf --gpu-spec gen4 --ram 1G --json
    exits 4
    same fits "$(json fits)" false
}

@test "hits from a recorded trace, and of this machine" {
    mox run "$DEMO" --raw -p 'It was a bright' -n 24 --ram-experts 40% --record run.trace
    exits 0
    mox plan "$DEMO" --ram-experts 40% --trace run.trace --json
    exits 0
    same source "$(json hits.source)" 'recorded routing'
    check "no more than the best" awk -v a="$(json hits.ram)" -v b="$(json hits.best_vram_and_ram)" 'BEGIN { exit !(a > 0.2 && a <= b) }'
    mox plan --model "$DEMO" --config none --tuned off --ram-experts 40% --io-depth 4 --threads 1 --batch 64 --ctx 512 --kv q8_0 --policy lru
    exits 0
    prints 'measured now: RAM read'
    mox plan -m "$DEMO" -t 1 -b 64 -c 512 --gpu-spec gen4 --heat off
    exits 0
    mox plan "$DEMO" --ram 20M --margin 1 --layer-shares 700001 --gpu-spec gen4 --json
    exits 0
    same "by shares" "$(json experts.ram_per_layer.1)" 0
    mox plan "$A" --trace run.trace --gpu-spec gen4
    exits 3
    says 'is of another model'
    head -c 100 run.trace >short.trace
    mox plan "$DEMO" --trace short.trace --gpu-spec gen4
    exits 3
    says "is cut off"
}

@test "wrong machines, sweeps and files" {
    headers
    for spec in rtx9999 4080,4090 pcie4x8 ''; do
        styled 2 MX-2002 plan mixtral-8x7b.gguf --gpu-spec "$spec"
    done
    styled 2 MX-2002 plan mixtral-8x7b.gguf --assume-vram 8G
    styled 2 MX-2002 plan mixtral-8x7b.gguf --gpu-spec gen3 --assume-vram 8G
    for sweep in vram=8G ram=9G..8G disk=1G..2G vram=8..24 ram=8G..8G ram=8G..9G:0 ram=0K..9G ram=8G..9999999999T ram= .. '' \
        ram=-8G..9G vram=1G..1G..2G; do
        styled 2 MX-2002 plan mixtral-8x7b.gguf --gpu-spec 4080 --sweep "$sweep"
    done
    styled 2 MX-2002 plan mixtral-8x7b.gguf --gpu-spec 4080 --assume-ram 0K
    styled 4 MX-4001 plan mixtral-8x7b.gguf --gpu-spec 4080 --assume-vram 1K
    styled 2 MX-2002 plan mixtral-8x7b.gguf --gpu-spec gen4 --sweep vram=8G..24G
    head -c 3000 mixtral-8x7b.gguf >cut.gguf
    styled 3 MX-3002 plan cut.gguf --gpu-spec gen4
    mox run mixtral-8x7b.gguf -p hi
    exits 3
}

@test "a GPU that is not here: one of the table, or an error that names the way" {
    headers
    mox plan mixtral-8x7b.gguf --device cuda --gpu-spec 4080 --assume-ram 32G
    exits 0
    prints '^machine: GeForce RTX 4080'
    mox plan "$DEMO" --device cuda:n=9
    exits 5
    styled 5 MX-5001 plan "$DEMO" --device cuda:n=9
    says 'gpu-spec 4080'
    styled 2 MX-2002 plan "$DEMO" --device cuda:vram=much
}

# Every change is a command that the program takes, and that brings what was said.
@test "what would help is a command" {
    headers
    local i n=0 command before
    for options in '--gpu-spec 4060ti16,ddr5-6000 --assume-ram 16G' '--gpu-spec 4080 --ctx 32768 --assume-ram 24G' \
        '--gpu-spec gen4 --assume-ram 12G --batch 512'; do
        # shellcheck disable=SC2086
        mox plan mixtral-8x7b.gguf $options --json
        exits 0
        cp out planned
        before=$(json decode_tok_s)
        for i in 0 1 2; do
            command=$(json changes.$i.command planned 2>/dev/null) || continue
            # shellcheck disable=SC2086
            mox ${command#moxie } --json
            exits 0
            same "$command" "$(json decode_tok_s)" "$(json changes.$i.decode_tok_s planned)"
            check "faster" awk -v a="$before" -v b="$(json decode_tok_s)" 'BEGIN { exit !(b > a) }'
            n=$((n + 1))
        done
    done
    at_least "changes tried" $n 4
    cp "$DEMO" 'my model.gguf'
    mox plan 'my model.gguf' --ram 18M
    exits 0
    command=$(sed -n "s/^ *\\(moxie run .*\\)/\\1/p" out | head -1)
    check "in quotes: $command" eval "\"\$BIN\" ${command#moxie } --dry-run >/dev/null 2>&1 </dev/null"
}
