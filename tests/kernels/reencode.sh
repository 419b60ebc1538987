#!/bin/sh
# reencode.sh OUT.o SOURCE.c COMPILER...: compiles a file of VEX-encoded VNNI and writes its instructions in the EVEX
# encoding, which does the same with the same registers, so that a machine with AVX-512 alone can run it.
set -eu
out=$1
source=$2
shift 2
"$@" -S "$source" -o "$out.s"
grep -q '{vex}' "$out.s" || { echo "$source has no VEX-encoded VNNI" >&2; exit 1; }
sed 's/{vex}//' "$out.s" > "$out.evex.s"
"$@" -c "$out.evex.s" -o "$out"
