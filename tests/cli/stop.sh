# Ctrl-C in the middle of an answer: exit code 130 (SIGTERM: 143), what was printed stays and is whole.
. "$(dirname "$0")/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

stop_with() { # SIGNAL CODE
    "$MOXIE" run "$DEMO" --raw -p 'It was a bright' -n 0 --ctx 65536 --temp 1 --threads 1 >"$OUT" 2>"$ERR" </dev/null &
    pid=$! last="run, then SIG$1"
    for _ in $(seq 200); do
        [ "$(wc -c <"$OUT")" -gt 40 ] && break
        sleep 0.05
    done
    printed=$(wc -c <"$OUT")
    kill -s "$1" $pid
    wait $pid
    rc=$?
    exits "$2"
    check "text was being printed" test "$printed" -gt 40
    check "the text is kept" test "$(wc -c <"$OUT")" -ge "$printed"
    check "the last line is complete" test "$(tail -c1 "$OUT" | od -An -c | tr -d ' ')" = '\n'
    says 'tok/s'
    check "the text is whole UTF-8" sh -c "! command -v iconv >/dev/null || iconv -f utf-8 -t utf-8 '$OUT' >/dev/null"
}
# a background job of a script ignores SIGINT unless job control is on
set -m
stop_with INT 130
stop_with TERM 143
finish
