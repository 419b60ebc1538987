# moxie top: what a running process shows, as lines, as JSON and on a terminal; sockets of those that are gone.
load lib

setup_top() {
    export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/rt
    mkdir -m 700 -p "$XDG_RUNTIME_DIR"
}
# A process that runs until it is ended
begin() {
    (exec "$BIN" bench "$DEMO" -p 0 -n 200 -r 100 --ram-experts 50% "$@" >bench.out 2>bench.err) &
    pid=$!
    for _ in $(seq 1200); do
        [ -S "$XDG_RUNTIME_DIR/moxie/$pid.sock" ] && return
        sleep 0.05
    done
    failed "a socket"
}
end() {
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

@test "lines and JSON of a running process" {
    setup_top
    begin
    mox top --count 2
    exits 0
    same "lines" "$(wc -l <out)" 2
    prints "^$pid moxie-demo-Q4_K_M.gguf: prompt .* tok/s, answer .* tok/s; VRAM 0.0 %"
    mox top "$pid" --json --count 5
    exits 0
    grep -v '"answer_tok_s":0,' out | tail -1 >last # on a busy machine a second may bring no token
    "$JSONQ" last || failed "JSON"
    same schema "$(json schema last)" moxie.top/1
    same pid "$(json pid last)" "$pid"
    check "shares add up to one" awk -v a="$(json vram last)" -v b="$(json ram last)" -v c="$(json late last)" -v d="$(json file last)" \
        'BEGIN { s = a + b + c + d; exit !(s > 0.999 && s < 1.001) }'
    check "it goes on" awk -v a="$(json answer_tok_s last)" 'BEGIN { exit !(a > 0) }'
    check "a rate for each layer" test -n "$(json layers.5 last)"
    mox top --json --count 1
    schema moxie.top/1
    mox top 1
    exits 6
    styled 6 MX-6002 top notanumber
    end
}

@test "several processes, stale sockets, a folder that is not ours alone" {
    setup_top
    styled 6 MX-6002 top
    says 'no moxie is running'
    begin
    first=$pid
    begin
    styled 2 MX-2002 top
    says "moxie top $first"
    end
    pid=$first
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    check "a socket is left" test -S "$XDG_RUNTIME_DIR/moxie/$pid.sock"
    mox top
    exits 6
    check "and removed" test ! -e "$XDG_RUNTIME_DIR/moxie/$pid.sock"
    chmod 755 "$XDG_RUNTIME_DIR/moxie"
    styled 6 MX-6002 top
    says 'not a folder of this user alone'
    mox run "$DEMO" --raw -p hi -n 2 --heat off
    exits 0
    mox run "$DEMO" --raw -p hi -n 2 --heat off --live off
    exits 0
}

@test "a client that does not read slows nobody" {
    setup_top
    begin
    mkfifo never
    (exec 9<>never; exec "$BIN" top "$pid" --json >never 2>/dev/null) &
    stuck=$!
    kill -STOP "$stuck"
    mox top "$pid" --json --count 3
    exits 0
    head -1 out >one
    tail -1 out >three
    check "tokens go on" test "$(json tokens three)" -gt "$(json tokens one)"
    kill -KILL "$stuck"
    wait "$stuck" 2>/dev/null || true
    end
}

@test "at a terminal: a screen, q leaves, the terminal is as before" {
    command -v tmux >/dev/null || skip "tmux is not installed"
    setup_top
    begin
    unset TMUX
    t() { tmux -u -S "$BATS_TEST_TMPDIR/t" -f /dev/null "$@"; }
    t new-session -d -s top -x 100 -y 30 env PS1='$ ' bash --norc --noprofile -i
    t send-keys "stty -g >before; $BIN top; echo code \$?; stty -g >after; echo do''ne" Enter
    for _ in $(seq 1200); do t capture-pane -p | grep -q 'q leaves' && break; sleep 0.05; done
    t capture-pane -p >screen
    t send-keys q
    for _ in $(seq 1200); do t capture-pane -p | grep -q '^done' && break; sleep 0.05; done
    t capture-pane -p >shell
    t kill-server
    end
    check "the screen" grep -q "moxie top  $pid  moxie-demo" screen
    check "its tiers" grep -q '  RAM    [#.]* ' screen
    check "its layers" grep -q '^      5 ' screen
    check "code 0" grep -q '^code 0' shell
    check "the terminal's settings" cmp -s before after
}
