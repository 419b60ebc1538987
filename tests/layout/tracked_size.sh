#!/bin/sh
# tracked_size.sh ROOT: all tracked files together stay within 48 MiB, so that a clone stays quick.
set -u
cd "$1" || exit 1
git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "skipped: not a git checkout"; exit 77; }
total=$(git ls-files -z | xargs -0 stat -c %s 2>/dev/null | awk '{ sum += $1 } END { printf "%d", sum }')
echo "tracked: $total bytes"
[ "$total" -gt 0 ] && [ "$total" -le $((48 * 1024 * 1024)) ]
