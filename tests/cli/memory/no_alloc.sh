# From "ready" to the last token nothing is allocated, in any thread, by any library; both backends, recording
# on. First the witness itself is tried: it must see each kind of offence. It watches until the process ends, so heat is
# not saved here: that is a file, opened after the last token.
#   no_alloc.sh MOXIE JSONQ DATA WORK PRELOAD BAD
. "$(dirname "$0")/../lib.sh"
PRELOAD=$5 BAD=$6
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

offend() {
    LD_PRELOAD=$PRELOAD "$BAD" "$1" >"$OUT" 2>"$ERR"
    rc=$? last="no_alloc_bad $1"
}
offend nothing
exits 0
says 'no_alloc: 0 allocator calls'
says 'filter on'
for kind in malloc thread; do
    offend $kind
    says 'no_alloc: 2 allocator calls'
done
for kind in mmap open clone brk; do
    offend $kind
    exits 9
    says 'system call'
done

for io in uring pread; do
    for budget in '--ram min' '--ram-experts 50%' \
        '--ram-experts 40% --device cpu:vram=64M,n=2 --vram-experts 25% --miss split'; do
        for output in '' --json; do
            LD_PRELOAD=$PRELOAD "$MOXIE" run "$DEMO" --raw -p 'It was a bright cold day in April' -n 40 --ctx 200 --batch 4 \
                --temp 0.8 --io $io $budget --record trace.bin --timings --verify always --heat off $output >"$OUT" 2>"$ERR" </dev/null
            rc=$? last="run --io $io $budget $output"
            exits 0
            says 'no_alloc: armed, filter on'
            says 'no_alloc: 0 allocator calls'
        done
    done
done
LD_PRELOAD=$PRELOAD "$MOXIE" run "$DATA/models/qwen3moe-a.gguf" --raw -p 'Words of letters, 1234 digits: byte-level BPE.' \
    -n 20 --heat off >"$OUT" 2>"$ERR" </dev/null
rc=$? last="run with byte-level BPE"
exits 0
says 'no_alloc: 0 allocator calls'
# a turn through a rendered template: it works in memory of its own, mapped at open
printf '{{ bos_token }}{%% for m in messages %%}[INST] {{ m.content | trim }} [/INST]{%% endfor %%}' >turn.jinja
for template in turn.jinja chatml; do
    LD_PRELOAD=$PRELOAD "$MOXIE" run "$DEMO" -s 'Be brief.' -p 'It was a bright cold day in April' -n 8 --ctx 200 \
        --chat-template $template --kwargs '{"x": [1, 2]}' --ram min --heat off >"$OUT" 2>"$ERR" </dev/null
    rc=$? last="run --chat-template $template"
    exits 0
    says 'no_alloc: armed, filter on'
    says 'no_alloc: 0 allocator calls'
done
finish
