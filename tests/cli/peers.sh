# bench/peers: medians, ratios and choices, with the real moxie's output format and peers that are played.
# A played peer prints what llama-bench prints, with speeds that its options decide.
. "$(dirname "$0")/lib.sh"
RUN=$DATA/../../bench/peers/run
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
head -c 100000 /dev/zero >model.gguf
rm -f turns starts

# Its first round is at 100 tok/s, the next ones at 110, 120 ...
cat >moxie <<'EOF'
#!/bin/bash
[ "$1" != --version ] || { echo "moxie 1"; exit; }
echo m >>turns
speed=$((90 + 10 * $(grep -cx m turns)))
while [ $# -gt 0 ]; do
    case $1 in -p) p=$2 ;; -n) n=$2 ;; -d) d=$2 ;; esac
    shift
done
for t in ${p//,/ }; do [ "$t" = 0 ] || echo "moxie: prefill $t: $speed.00 tok/s (1 of 1)" >&2; done
for t in ${d//,/ }; do
    [ "$n" = 0 ] || { [ "$t" = 0 ] && t= || t=" at $t"; echo "moxie: decode $n$t: $speed.50 tok/s (1 of 1)" >&2; }
done
EOF
# Seven tokens, a warm-up, are at 1 tok/s. With flash attention a prompt is at 50, without at 40; an answer the other way.
cat >llama-bench <<'EOF'
#!/bin/bash
echo "l $*" >>turns
echo "$*" >>starts
d=0 fa=0
while [ $# -gt 0 ]; do
    case $1 in -p) p=$2 ;; -n) n=$2 ;; -d) d=$2 ;; -fa) fa=$2 ;; esac
    shift
done
one() {
    local k=$1 n=$2 d=$3 fa=$4
    [ $((k + n)) = 7 ] && speed=1 || { [ "$n" = 0 ] && speed=$((40 + 10 * fa)) || speed=$((50 - 10 * fa)); }
    printf '"flash_attn": %s,\n' "$fa"
    printf '"build_commit": "abc",\n"build_number": 7,\n"n_prompt": %s,\n"n_gen": %s,\n"n_depth": %s,\n' "$1" "$2" "$3"
    printf '"samples_ns": [ 9 ],\n"samples_ts": [ %s ]\n' "$speed"
}
for f in ${fa//,/ }; do
    for t in ${p//,/ }; do [ "$t" = 0 ] || one "$t" 0 0 "$f"; done
    for t in ${d//,/ }; do
        for k in ${n//,/ }; do [ "$k" = 0 ] || one 0 "$k" "$t" "$f"; done
    done
done
EOF
printf '#!/bin/bash\necho "error: unknown key in the file" >&2\nexit 3\n' >ik-bench
chmod +x moxie llama-bench ik-bench

peers() { # peers ARGS...
    last="peers $*"
    bash "$RUN" --moxie "$PWD/moxie" --model model.gguf --cgroup-rounds 0 "$@" >"$OUT" 2>"$ERR"
    rc=$?
}

rm -f settings
peers --llama-bench "$PWD/llama-bench" --ik-bench "$PWD/ik-bench" --rounds 3 --settings settings --json result
exits 0
prints '| prefill 512 | 110.00 (100.00 .. 120.00) | 50.00 (50.00 .. 50.00) | 2.20 |'
prints '| decode 64 at 512 | 110.50 (100.50 .. 120.50) | 50.00 (50.00 .. 50.00) | 2.21 |'
prints '^\* RAM, llama.cpp, prefill64: .*-fa 1'
prints '^\* RAM, llama.cpp, decode512: .*-fa 0'
check "warm-ups are not results" sh -c "! grep -q '[el] 7 ' '$OUT'"
prints 'llama.cpp: commit abc, build 7'
prints 'ik_llama.cpp .*: exit 3: error: unknown key in the file'
check "no ratio to the peer that failed" sh -c "! grep -q 'moxie / ik_llama.cpp' '$OUT'"
check "the JSON is JSON" "$JSONQ" result
same "a ratio" "$(json results.1.moxie_over_it result)" 2.2000
same "its samples" "$(json results.0.tok_s result | tr -d ' ')" '[100.00,110.00,120.00]'
same "moxie and the peer take turns" "$(tail -9 turns | cut -c1 | tr -d '\n')" mllmllmll
same "no cgroup is left" "$(find /sys/fs/cgroup -maxdepth 2 -name 'moxie-peers-*' | wc -l)" 0

# settings that are known are not sought again; one part alone
: >starts
peers --llama-bench "$PWD/llama-bench" --rounds 1 --settings settings --only decode
exits 0
same "one start for both depths" "$(grep -c . starts)" 1
check "no prompts" sh -c "! grep -q 'prefill [0-9]* |' '$OUT'"
prints 'ik_llama.cpp: not measured, no --ik-bench was given'

# nothing to compare with, and wrong use
peers --llama-bench /nowhere/llama-bench --rounds 1
exits 1
prints 'no program at /nowhere/llama-bench'
peers --only speed
exits 2
peers --rounds
exits 2

# what the script reads is what moxie prints
run bench "$DEMO" -p 3 -n 2 -d 0,4 -r 1 --tokens-from random
exits 0
says '^moxie: prefill 3: [0-9.]* tok/s (1 of 1)$'
says '^moxie: decode 2 at 4: [0-9.]* tok/s (1 of 1)$'
finish
