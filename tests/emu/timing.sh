#!/bin/sh
# timing.sh SYNTH MOXIE TIMING_RUN FOLDER: the shape of Mixtral 8x7B Q4_K_M without its weights, and routing that is as hard
# to cache as Mixtral's, through timing_run.
set -eu
synth=$1 moxie=$2 timing_run=$3 work=$4
root=$(cd "$(dirname "$0")/../.." && pwd)
rm -rf "$work" && mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
"$synth" --out "$work/mixtral.gguf" --sparse 1 --layers 32 --d-model 4096 --d-ff 14336 --experts 8 --top-k 2 --heads 32 \
    --kv-heads 8 --vocab 32000 --ctx 32768
awk -v tokens=2304 -v layers=32 -v experts=8 -v k=2 -f "$root/bench/gpu/routing.awk" >"$work/routing.csv"
"$moxie" profile import "$work/routing.csv" --out "$work/routing.trace"
"$timing_run" "$work/mixtral.gguf" "$work/routing.trace"
