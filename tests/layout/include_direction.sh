#!/bin/bash
# include_direction.sh ROOT: every #include follows the arrows of docs/design.md (downward or within the folder), and
# each outside library is named in one file only. The compiler checks the same per library (refuses.sh); this one
# also sees folders that share a library and names the line.
set -u
cd "$1" || exit 1
bad=0

complain() {
    echo "$1" >&2
    bad=1
}

# The folders that a file may include from, as one pattern.
allowed() {
    case $1 in
    runtime/core/*) echo '^runtime/core/' ;;
    profiler/*) echo '^(runtime/core|profiler)/' ;;
    kernels/*) echo '^(runtime/core|profiler|kernels)/' ;;
    offload/policy/*) echo '^(runtime/core|offload/policy)/' ;;
    offload/*) echo '^(runtime/core|profiler|offload)/' ;;
    runtime/cli/* | runtime/serve/*) echo '^(runtime|profiler|kernels|offload)/' ;;
    runtime/gguf/*) echo '^runtime/(core|gguf)/' ;;
    runtime/tokenizer/*) echo '^runtime/(core|gguf|tokenizer)/' ;;
    runtime/template/*) echo '^runtime/(core|gguf|template)/' ;;
    runtime/chat/*) echo '^runtime/(core|gguf|tokenizer|template|chat)/' ;;
    runtime/dev/backend_emu.c) echo '^(runtime/(core|dev)|emu)/' ;; # of the emulator's module alone
    runtime/dev/*) echo '^(runtime/(core|dev)|profiler|kernels)/' ;;
    runtime/quantize/*) echo '^(runtime/(core|gguf|quantize)|kernels)/' ;;
    # the rest of runtime: everything below, but not its own clients
    runtime/*) echo '^(runtime/(core|dev|gguf|tokenizer|template|chat|model|graph|pack|plan|[a-z_]+\.h)|profiler|kernels|offload)' ;;
    *) echo '.' ;;
    esac
}

n=0
while IFS= read -r file; do
    n=$((n + 1))
    pattern=$(allowed "$file")
    while IFS= read -r header; do
        # a neighbour's plain name, or a way up: as the path from the root that it means
        [[ $header == */* && $header != ../* ]] || header=$(realpath -m --relative-to=. "${file%/*}/$header")
        [[ $header =~ $pattern ]] || complain "$file includes $header: against the direction of docs/design.md"
    done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/p' "$file")
done < <(find runtime profiler kernels offload -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')
[ "$n" -gt 20 ] || complain "only $n files found under $1"

# one_file HEADER FILE[|FILE]: an outside library has one place where it is used (a second one for readers of JSON)
one_file() {
    while IFS= read -r file; do
        [[ $file =~ ^($2)$ ]] || complain "$file includes $1, which belongs to $2 alone"
    done < <(grep -rlE --include='*.[ch]' "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$1" \
        runtime profiler kernels offload bench 2>/dev/null)
}
one_file liburing.h offload/ring.c
one_file hwloc offload/topo.c
one_file jansson.h 'runtime/cli/bench/compare.c|runtime/cli/json_doc.c|runtime/cli/json_value.c|runtime/cli/chat/saved.c'
one_file histedit.h runtime/cli/chat/line_edit.c
one_file ini.h runtime/cli/config_file.c
one_file xxhash.h runtime/core/hash.c
exit $bad
