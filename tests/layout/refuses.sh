#!/bin/sh
# refuses.sh CC INCLUDE... -- OWN HEADER...: with a library's include path its own header compiles and the others,
# which lie above or beside it, are not even found.
set -u
cc=$1
shift
paths=
while [ "$1" != -- ]; do
    paths="$paths $1"
    shift
done
shift
# shellcheck disable=SC2086 # a list of options
compiles() {
    echo "#include \"$1\"" | "$cc" -x c -std=c11 -D_GNU_SOURCE -fsyntax-only $paths - 2>&1
}
own=$1
shift
compiles "$own" >&2 || { echo "$own does not compile with its own include path" >&2; exit 1; }
bad=0
for header in "$@"; do
    compiles "$header" | grep -q "$header.*\(No such file\|not found\)" ||
        { echo "$header can be included there" >&2; bad=1; }
done
exit $bad
