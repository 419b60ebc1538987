#!/bin/bash
# nvcc.sh NVCC ROOT TABLE ARCH...: every CUDA source compiles for these architectures with warnings as errors, no kernel
# spills or has a stack, and each takes as many registers as TABLE says (kernel, architecture, registers). A kernel that
# takes more, or fewer, is a change to be looked at: MOX_REGISTERS=print prints the table for these architectures.
set -u
nvcc=$1 root=$2 table=$3
shift 3
[ -x "$nvcc" ] || { echo "skipped: nvcc is not installed"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
compile() { # FILE ARCH: a job for each, so that none takes long
    local name
    name=$(basename "$1").$2
    "$nvcc" -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true --Werror all-warnings \
        -Xcompiler -Wall,-Wextra,-fPIC -D_GNU_SOURCE -D_Alignas=alignas -D_Static_assert=static_assert \
        -I"$root" -gencode "arch=compute_$2,code=sm_$2" -Xptxas -v -c "$1" -o "$work/$name.o" >"$work/$name.log" 2>&1 ||
        { cat "$work/$name.log"; return; }
    mv "$work/$name.o" "$work/$name.done"
}
n=0
for file in "$root"/kernels/cuda/*.cu; do
    for arch in "$@"; do
        compile "$file" "$arch" &
        n=$((n + 1))
        [ $((n % 2)) -eq 0 ] && wait
    done
done
wait
done=$(find "$work" -name '*.done' | wc -l)
[ "$n" -gt 5 ] && [ "$done" -eq "$n" ] || { echo "$done of $n objects under $root/kernels/cuda were compiled"; exit 1; }
# "Compiling entry function 'NAME' for 'sm_75'", then stack and spills, then registers
cat "$work"/*.log | awk '
    /Compiling entry function/ { split($0, q, "'\''"); kernel = q[2]; arch = q[4] }
    /bytes spill stores/ { spill = $5 + $9; stack = $1 }
    /Used [0-9]+ registers/ { for (i = 1; i <= NF; i++) if ($i == "Used") print kernel, arch, $(i + 1), spill, stack }
' | c++filt | awk '
    { line = $0; stack = $NF; spill = $(NF - 1); registers = $(NF - 2); arch = $(NF - 3)
      sub(/ sm_[0-9]+ [0-9]+ [0-9]+ [0-9]+$/, "", line)
      sub(/^void /, "", line); sub(/\(anonymous namespace\)::/, "", line)
      gsub(/\(mox_act_kind\)|\(mox_glu\)|\(unsigned int\)|\(bool\)/, "", line); sub(/\(.*$/, "", line); gsub(/ /, "", line)
      print line "\t" arch "\t" registers "\t" spill "\t" stack }' | LC_ALL=C sort >"$work/used"
if [ "${MOX_REGISTERS-}" = print ]; then
    cut -f 1-3 "$work/used"
    awk -F '\t' '$4 > 0 || $5 > 0 { print $1, $2 ": " $4 " bytes spilled, stack of " $5 " bytes" }' "$work/used" >&2
    exit 0
fi
awk -F '\t' '
    NR == FNR { if ($1 !~ /^#/) table[$1, $2] = $3; next }
    { kernels++
      if ($4 > 0 || $5 > 0) { print $1, $2 ": " $4 " bytes spilled, stack of " $5 " bytes"; bad = 1 }
      if (!(($1, $2) in table)) { print $1, $2 ": not in the table, takes " $3 " registers"; bad = 1 }
      else if ($3 != table[$1, $2]) { print $1, $2 ": " $3 " registers, the table says " table[$1, $2]; bad = 1 }
    }
    END { print kernels " kernels checked"; exit bad || kernels < 50 }' "$table" "$work/used"
