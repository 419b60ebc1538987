#!/bin/bash
# Every function of the CUDA runtime that a device module calls is in a list of the tests that make calls fail.
#   sweep_names.sh NM SOURCE LIBRARY...
nm=$1 source=$2
shift 2
tests="$source/tests/dev/test_faults.c $source/tests/dev/test_joined.c $source/tests/dev/test_device.c"
# What only says what went wrong is not made to fail.
names=$("$nm" -u "$@" 2>/dev/null | sed -n 's/.* U \(cuda[A-Za-z]*\)$/\1/p' | sort -u |
    grep -vxE 'cudaGetLastError|cudaPeekAtLastError|cudaGetErrorString')
n=0 missing=0
for name in $names; do
    n=$((n + 1))
    # shellcheck disable=SC2086 # a list of files
    grep -q "\"$name\"" $tests || { echo "FAILED $name is called, and no test makes it fail"; missing=$((missing + 1)); }
done
echo "$n functions, $missing without a test"
[ $n -ge 20 ] && [ $missing -eq 0 ]
