# Exit codes, and the errors of files and budgets: named, with their code and advice, nothing on stdout, one screen.
load lib

each_command() { # CHECK ARGS...: for every command that opens a model
    echo 1 2 3 >ids
    printf 'hello' >text
    "$@" run -p x
    "$@" info
    "$@" tokenize
    "$@" logits --tokens ids --json
    "$@" perplexity --text text
    "$@" bench
    "$@" verify
    "$@" doctor
}
fails() { # EXIT CODE MODEL COMMAND OPTION...
    local exit=$1 code=$2 model=$3 command=$4
    shift 4
    styled "$exit" "$code" "$command" "$model" "$@"
}

@test "6: a file that is missing, a file that may not be read" {
    each_command fails 6 MX-6002 missing.gguf
    says 'missing.gguf'
    if [ "$(id -u)" -ne 0 ]; then
        cp "$A" secret.gguf
        chmod 0 secret.gguf
        styled 6 MX-6002 info secret.gguf
        says 'ermission'
    fi
}

@test "3: not a model; a header without a model" {
    printf 'this is a text, not a model, and long enough to be read as a header\n' >text.gguf
    each_command fails 3 MX-3003 text.gguf
    : >empty.gguf
    mox info empty.gguf
    exits 3
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n' >lfs.gguf
    styled 3 MX-3003 run lfs.gguf -p x
    says 'git-lfs pointer'
    says '^try:  git lfs pull'
}

@test "3: a model that is cut" {
    head -c 100000 "$DEMO" >short.gguf
    styled 3 MX-3002 run short.gguf -p x
    head -c 13000000 "$DEMO" >cut.gguf
    styled 3 MX-3002 run cut.gguf -p x
}

@test "4: a budget below the floor, with what would fit" {
    styled 4 MX-4001 run "$DEMO" -p x --ram 1M
    says '^try:'
    mox run "$DEMO" -p x --dry-run --ram min
    floor=$(sed -n 's/.*floor \([0-9.]*\) MiB.*/\1/p' err | tail -1)
    mox run "$DEMO" -p x --dry-run --ram 1M
    exits 4
    says "$floor MiB"
    echo 1 2 3 >ids
    styled 4 MX-4001 logits "$DEMO" --tokens ids --json --ram 1M
    styled 4 MX-4001 perplexity "$DEMO" --tokens ids --ram 1M
    styled 4 MX-4001 bench "$DEMO" --ram 1M
}

@test "4: the system refuses memory" {
    rc=0 last='run with a limit on address space'
    (ulimit -v 200000; "$BIN" run "$DEMO" --raw -p x --threads 1 --ctx 262144 --kv f32 --ram-experts 100%) >out 2>err </dev/null || rc=$?
    exits 4
    says 'MX-4002'
    stdout_empty
}

@test "1: the system refuses a thread" {
    rc=0 last='run with a limit on address space, of which 100 stacks want more'
    (ulimit -s 65536; ulimit -v 2000000; "$BIN" run "$DEMO" --raw -p x --threads 100) >out 2>err </dev/null || rc=$?
    exits 1
    says 'MX-1004'
    stdout_empty
}

@test "5: an instruction set that the processor lacks" {
    for row in avx512:avx512_vnni avx2:avx2; do
        if ! grep -qw "${row#*:}" /proc/cpuinfo; then
            styled 5 MX-5002 run "$DEMO" --raw -p x --isa "${row%%:*}"
            return
        fi
    done
    skip 'this processor has them all'
}

@test "8: checks that fail" {
    mox verify "$A" --expect 00000000000000000000000000000000
    exits 8
    says 'MX-8001'
}

@test "1: the context is full" {
    mox run "$DEMO" --raw -p 'one two three four five six seven eight nine ten' --ctx 4
    exits 1
    says 'MX-2004'
}
