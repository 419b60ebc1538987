# shellcheck shell=bash
# How each engine is run and what it prints becomes samples: lines "part <tab> engine <tab> test <tab> tok/s" in
# $samples. Sourced by run, whose variables it uses. Tests are prefill64, prefill512, decode and decode512 (behind 512
# tokens). A setting of a peer is the options that select it; those that were chosen are lines
# "part <tab> engine <tab> test <tab> options" in $settings.

# started NAME COMMAND...: in the cgroup if there is one; output in $work/NAME.out and .err. In the background and
# waited for, so that a signal to run is served at once.
started() {
    local name=$1
    shift
    if [ -n "$cgroup" ]; then
        sync
        echo 3 >/proc/sys/vm/drop_caches
    fi
    (cgroup_enter && exec timeout -k 5 "$limit" "$@") >"$work/$name.out" 2>"$work/$name.err" &
    child=$!
    wait "$child" 2>/dev/null # without bash's own line about a killed child
    local rc=$?
    child=''
    return $rc
}

why() { # why RC NAME: one line
    case $1 in
    124) echo "did not end in $limit s" ;;
    137) echo "was killed: out of memory" ;;
    *) echo "exit $1: $( (grep -i error "$work/$2.err" || tail -1 "$work/$2.err") | head -1 | cut -c1-200)" ;;
    esac
}

has() { case " $2 " in *" $1 "*) return 0 ;; esac; return 1; }

# moxie_once ENGINE TESTS TOKENS: prints "test <tab> tok/s". In a cgroup the budget is its limit: auto would leave
# 2 GiB of it free for others, and nobody else is in there. 64 MiB are for page tables and what the kernel keeps.
moxie_once() {
    local file=$model ram=auto p='' d=''
    [ -z "$cgroup" ] || ram=$((cgroup_bytes / 1048576 - 64))M
    [ "$1" = moxie ] || file=$packed
    ! has prefill64 "$2" || p=64
    ! has prefill512 "$2" || p=$p,512
    ! has decode "$2" || d=0
    ! has decode512 "$2" || d=$d,512
    p=${p#,} d=${d#,}
    local n=$3
    [ -n "$d" ] || n=0
    started "$1" "$moxie" bench "$file" --threads "$threads" -r 1 --ram "$ram" --tokens-from random \
        -p "${p:-0}" -n "$n" -d "${d:-0}" || return
    sed -n 's/^moxie: \(prefill\|decode\) \(.*\): \([0-9.]*\) tok\/s (.*/\1 \2\t\3/p' "$work/$1.err"
}

# The output of both llama-benches is one field a line; samples come last. Warm-ups are left out: in RAM tests of
# $warm_up tokens, in a cgroup each test's first sample.
peer_samples() { # peer_samples FILE
    awk -F'[:,]' -v warm_up=$warm_up -v first=$((1 + (${#cgroup} > 0))) '
        /"flash_attn":/ { fa = $2 ~ /true|1/ }
        /"n_prompt":/ { p = $2 + 0 }
        /"n_gen":/ { n = $2 + 0; d = 0 }
        /"n_depth":/ { d = $2 + 0 }
        /"samples_ts":/ {
            if (p > 0 && n > 0) { d = p } # ik: an answer behind a prompt
            if (p + n == warm_up || n == warm_up) next
            name = n > 0 ? "decode " n (d > 0 ? " at " d : "") : "prefill " p
            gsub(/.*\[|\].*/, "")
            k = split($0, v, /, */)
            for (i = first; i <= k; i++) printf "%s\t%.4f\t%d\n", name, v[i], fa
        }' "$1"
}

# peer_start ENGINE OPTIONS ARGS...: prints "test <tab> tok/s <tab> flash attention"
peer_start() {
    local engine=$1 options=$2 program=("$llama" --no-warmup)
    [ "$engine" = llama.cpp ] || program=("$ik" -w 0)
    shift 2
    # shellcheck disable=SC2086 # a list of options
    started "$engine" "${program[@]}" -m "$model" -t "$threads" -o json $options "$@" || return
    cp "$work/$engine.out" "$work/$engine.version"
    peer_samples "$work/$engine.out"
}

# peer_once ENGINE TESTS TOKENS OPTIONS: one sample of each test. TESTS must be all prefill or all decode. In RAM a few
# tokens touch everything once; in a cgroup what is in memory when a test begins matters, so there the warm-up is the
# whole test, as it is for moxie.
warm_up=7
peer_once() {
    local engine=$1 tests=$2 n=$3 options=$4 p='' d='' reps=1 first=$warm_up, alone=$warm_up
    ! has prefill64 "$tests" || p=64
    ! has prefill512 "$tests" || p=$p,512
    ! has decode "$tests" || d=0
    ! has decode512 "$tests" || d=$d,512
    p=${p#,} d=${d#,}
    [ -z "$cgroup" ] || reps=2 first='' alone=0
    if [ -n "$p" ]; then
        set -- -p "$first$p" -n 0
    elif [ "$engine" = llama.cpp ]; then
        set -- -p 0 -n "$first$n" -d "$d"
    else
        has decode "$tests" && set -- -p 0 -n "$first$n" || set -- -p 0 -n "$alone"
        ! has decode512 "$tests" || set -- "$@" -gp "512,$n"
    fi
    peer_start "$engine" "$options" -r "$reps" "$@"
}

# What is tried for an engine, one setting a line. In RAM each is tried with and without flash attention, and
# ik_llama.cpp also with the file in huge pages. In a cgroup attention stays as it was best in RAM, and nothing is
# repacked: repacked weights are memory that cannot be dropped and read again, as much as the file has.
candidates() { # candidates PART ENGINE
    local fa=1
    case $(setting RAM "$2" decode) in *'-fa 0'*) fa=0 ;; esac
    case "$1 $2" in
    'RAM llama.cpp') printf -- '-lm mmap --repack %s\n' 0 1 ;;
    'RAM ik_llama.cpp') printf -- '-rtr %s\n' 0 1 '0 -thp 1' ;;
    *' llama.cpp') printf -- "--repack 0 -fa $fa -lm %s\n" mmap none dio ;;
    *) printf -- "-rtr 0 -fa $fa -mmp %s\n" 1 '1 --defer-experts' 0 ;;
    esac
}

setting() { # setting PART ENGINE TEST: the options that were chosen, nothing if none were
    awk -F'\t' -v p="$1" -v e="$2" -v t="$3" '$1 == p && $2 == e && $3 == t { print $4; exit }' "$settings"
}

# seek PART TESTS: the first short turn, for what $settings does not have yet. In RAM a prompt of 256 tokens decides for
# 512, and an answer from nothing for both depths; in a cgroup a short answer decides for all tests: what counts there
# is how the file is read.
seek() {
    local part=$1 tests=$2 engine options t name value fa lacking rc tried=$work/tried
    for engine in $engines; do
        case $engine in moxie | packed) continue ;; esac
        lacking=''
        for t in $tests; do
            [ -n "$(setting "$part" "$engine" "$t")" ] || lacking="$lacking $t"
        done
        [ -n "$lacking" ] || continue
        : >"$tried"
        while read -r options; do
            if [ "$part" = RAM ]; then
                peer_start "$engine" "$options -fa 0,1" -r 1 -p "$warm_up,64,256" -n "$warm_up,16" >"$work/one"
            else
                peer_once "$engine" decode 4 "$options" >"$work/one"
            fi
            rc=$?
            [ $rc -eq 0 ] || note "$part: $engine $options: $(why $rc "$engine")"
            while IFS=$'\t' read -r name value fa; do
                [ "$part" != RAM ] || fa=" -fa $fa"
                [ "$part" = RAM ] || fa=''
                say "$part: $engine $options$fa: $name: $value tok/s"
                printf '%s\t%s\t%s\n' "$name" "$value" "$options$fa" >>"$tried"
            done <"$work/one"
        done <<<"$(candidates "$part" "$engine")"
        for t in $lacking; do
            case "$part $t" in
            'RAM prefill64') name='prefill 64' ;;
            'RAM prefill512') name='prefill 256' ;;
            RAM*) name='decode 16' ;;
            *) name='decode 4' ;;
            esac
            options=$(awk -F'\t' -v n="$name" '$1 == n && $2 > best { best = $2; o = $3 } END { print o }' "$tried")
            [ -z "$options" ] || printf '%s\t%s\t%s\t%s\n' "$part" "$engine" "$t" "$options" >>"$settings"
        done
    done
}

# turn PART ENGINE TESTS TOKENS WHICH: one sample of each test. A peer is started once for each setting that its tests
# chose, prefill and decode apart.
turn() {
    local part=$1 engine=$2 tests=$3 n=$4 which=$5 options kind t same rc
    say "$part: $engine, round $which"
    case $engine in
    moxie | packed)
        moxie_once "$engine" "$tests" "$n" >"$work/one"
        rc=$?
        [ $rc -eq 0 ] || note "$part: $engine: $(why $rc "$engine")"
        keep "$part" "$engine"
        [ $rc -ne 0 ] || [ "${which% of*}" != "${which#*of }" ] || { echo "$part, $engine:"; cat "$work/$engine.out"; echo; } >>"$reports"
        return
        ;;
    esac
    for kind in prefill decode; do
        while read -r options; do
            same=''
            for t in $tests; do
                case $t in "$kind"*) [ "$(setting "$part" "$engine" "$t")" != "$options" ] || same="$same $t" ;; esac
            done
            [ -n "$options" ] && [ -n "$same" ] || continue
            peer_once "$engine" "$same" "$n" "$options" >"$work/one"
            rc=$?
            [ $rc -eq 0 ] || note "$part: $engine $options: $(why $rc "$engine")"
            keep "$part" "$engine"
        done <<<"$(awk -F'\t' -v p="$part" -v e="$engine" '$1 == p && $2 == e { print $4 }' "$settings" | sort -u)"
    done
}

keep() { # keep PART ENGINE: what the last program measured
    awk -F'\t' -v p="$1" -v e="$2" '{ print p "\t" e "\t" $1 "\t" $2 }' "$work/one" >>"$samples"
    awk -F'\t' -v p="$1" -v e="$2" '{ print p ": " e " " $1 ": " $2 " tok/s" }' "$work/one" >&2
}

# versions: "engine <tab> version" of those that were measured
versions() {
    local engine
    printf 'moxie\t%s\n' "$("$moxie" --version 2>/dev/null | head -1)"
    for engine in llama.cpp ik_llama.cpp; do
        [ -e "$work/$engine.version" ] || continue
        awk -F'"' -v e="$engine" '/"build_commit":/ { c = $4 } /"build_number":/ { n = $3; gsub(/[^0-9]/, "", n) }
            END { print e "\tcommit " c ", build " n }' "$work/$engine.version"
    done
}
