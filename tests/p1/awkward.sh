#!/bin/bash
# One model of awkward sizes: made, run through the P1 matrix, removed. Usage:
#   awkward.sh SYNTH P1_MATRIX DIR TYPE D_FF MIB SHARE [options of p1_matrix]
# With micro-batches of one token and few experts kept, a configuration reads a hundred gigabytes. So the model lies in
# memory (/dev/shm) where there is room for it, for a second copy of its experts and 2 GiB more, and where files in
# memory can be read with O_DIRECT (Linux 6.6); otherwise in DIR. The bytes are the same, and what is read from a disk
# is tested with the other models; p1_matrix prints which it was. Not kept: the next run makes it again in seconds.
#
# Every configuration evaluates every token. Where MOXIE_CHECK_END says when a run has to be over (./check: seconds since
# 1970), SHARE per cent of what is left are the limit, after which p1_matrix goes on with few tokens and says so.
set -eu
synth=$1 matrix=$2 dir=$3 type=$4 d_ff=$5 mib=$6 share=$7
shift 7
limit=
if [ -n "${MOXIE_CHECK_END:-}" ]; then
    left=$(((MOXIE_CHECK_END - $(date +%s)) * share / 100))
    limit="--seconds $((left > 1 ? left : 1))"
fi

# mib_of FILE: a number of bytes in a cgroup's file, in MiB; nothing where there is no limit or no file
mib_of() {
    awk '/^[0-9]+$/ { printf "%d", $1 / 1048576 }' "$1" 2>/dev/null || true
}

room_in_memory() {
    [ -d /dev/shm ] && [ -w /dev/shm ] || return 1
    local need=$((2 * mib + 2048)) available limit used
    available=$(awk '/^MemAvailable:/ { printf "%d", $2 / 1024 }' /proc/meminfo)
    limit=$(mib_of /sys/fs/cgroup/memory.max)
    used=$(mib_of /sys/fs/cgroup/memory.current)
    if [ -n "$limit" ] && [ $((limit - ${used:-0})) -lt "$available" ]; then
        available=$((limit - ${used:-0}))
    fi
    [ "$available" -ge "$need" ] && [ "$(df --output=avail -m /dev/shm | tail -1)" -ge $((mib + 64)) ]
}

make_model() {
    "$synth" --out "$1" --type "$type" --layers 2 --d-model 2304 --d-ff "$d_ff" --experts 37 --top-k 2 --heads 18 \
        --kv-heads 6 --vocab 1003 --ctx 1024 --seed 9
}

# A name of this build directory's own; what a killed run left behind is written over.
model=/dev/shm/moxie-p1-$(printf %s "$dir" | cksum | cut -d ' ' -f 1)-$type.gguf
trap 'rm -f "$model"' EXIT
trap 'exit 130' INT TERM
rm -f "$model"
if ! room_in_memory || ! make_model "$model" || ! dd if="$model" of=/dev/null iflag=direct bs=4096 count=1 status=none; then
    rm -f "$model"
    model=$dir/awkward-$type.gguf
    make_model "$model"
fi
# shellcheck disable=SC2086 # two words or none
"$matrix" --trace "$dir/awkward-$type.trace" --tokens 700 $limit "$@" "$model"
