#!/bin/bash
# mutants.sh PROGRAM ROOT: each MOX_SYNC() of the kernels is left out in turn, and the twins' tests must then fail: by a
# wrong bit, or by the emulator's complaint. The list comes from the sources, so a new barrier is a new mutant.
set -u
program=$1 root=$2
n=0 bad=0
complain() {
    echo "$1"
    bad=1
}
while IFS=: read -r file line _; do
    n=$((n + 1))
    name=$(basename "$file")
    case $name in # the test that runs it
    mat_rows.cu) test=one_row ;;
    mat_mma.cu) test=many_rows ;;
    attention.cu) test='attention*' ;;
    *) test=${name%.cu} ;;
    esac
    MOX_EMU_SKIP_FILE=kernels/cuda/$name MOX_EMU_SKIP_LINE=$line timeout 500 "$program" --filter "cuda_twins/$test" \
        >/dev/null 2>&1
    case $? in
    0) complain "$name:$line can be left out, and no test fails" ;;
    124) complain "$name:$line took too long" ;;
    *) echo "$name:$line is needed: $test fails without it" ;;
    esac
done < <(grep -n 'MOX_SYNC()' "$root"/kernels/cuda/*.cu)
[ "$n" -ge 5 ] || complain "only $n barriers found"
exit $bad
