#!/bin/sh
# headers_alone.sh CC INCLUDE... -- HEADER...: each header compiles as the first and only include, as C and as C++.
set -u
cc=$1
shift
paths=
while [ "$1" != -- ]; do
    paths="$paths $1"
    shift
done
shift
[ $# -gt 0 ] || { echo "no headers given" >&2; exit 1; }
# CUDA sources include the internal headers as C++, where these keywords of C11 have other names. The public header
# is included by other people's programs: it gets no help.
c11='-D_Alignas=alignas -D_Static_assert=static_assert -Drestrict=__restrict'
bad=0
for header in "$@"; do
    [ "$header" != runtime/moxie.h ] || c11=
    for language in 'c -std=c11 -Wstrict-prototypes' "c++ -std=c++17 $c11"; do
        # shellcheck disable=SC2086 # lists of options
        echo "#include \"$header\"" | "$cc" -x $language -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only $paths - ||
            { echo "$header does not compile alone as ${language%% *}" >&2; bad=1; }
    done
done
exit $bad
