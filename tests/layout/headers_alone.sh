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
# shellcheck disable=SC2086 # lists of options
alone() { # LANGUAGE OPTION...
    echo "#include \"$header\"" | "$cc" -x "$@" -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only $paths - ||
        { echo "$header does not compile alone as $1" >&2; bad=1; }
}
# shellcheck disable=SC2086 # lists of options
for header in "$@"; do
    case $header in
    */x86/*avx512*) # helpers of the AVX-512 files
        alone c -std=c11 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
        continue
        ;;
    */x86/*) # bodies for one instruction set, included by the C files of that set alone
        alone c -std=c11 -mavx2 -mfma -mf16c
        continue
        ;;
    runtime/moxie.h) c11= ;;
    esac
    alone c -std=c11 -Wstrict-prototypes
    alone c++ -std=c++17 $c11
done
exit $bad
