# install.sh CMAKE BUILD CC WORK: what is installed works from where it is installed: the program with its demo
# model, manuals, completion, and a program of somebody else against the library. Then the Debian package.
set -u
CMAKE=$1 BUILD=$2 CC=$3 WORK=$4
export XDG_CONFIG_HOME=$WORK/none
rm -rf "$WORK" && mkdir -p "$WORK" && cd "$WORK" || exit 1
failures=0
check() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >log 2>&1 || {
        echo "FAILED $name"
        tail -5 log
        failures=$((failures + 1))
    }
}

prefix=$WORK/prefix
check "cmake --install" "$CMAKE" --install "$BUILD" --prefix "$prefix"
for file in bin/moxie share/man/man1/moxie.1 share/man/man1/moxie-run.1 share/bash-completion/completions/moxie \
    share/zsh/vendor-completions/_moxie share/fish/vendor_completions.d/moxie.fish share/moxie/demo.gguf \
    include/moxie/runtime/moxie.h; do
    check "$file is installed" test -s "$prefix/$file"
done
check "the program runs its demo" "$prefix/bin/moxie" run --raw -p 'It was a bright' -n 4
cp log said
check "the installed one" grep -q "opening $prefix/" said

cat >client.c <<'.'
#include <runtime/moxie.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    static mox_plan plan;
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    cfg.model = argv[argc - 1];
    if (mox_plan_model(&plan, &cfg) != MOX_OK) {
        fprintf(stderr, "%s\n", mox_err_last()->msg);
        return 1;
    }
    printf("%u experts\n", plan.experts_total);
    return 0;
}
.
pc=$(dirname "$(find "$prefix" -name moxie.pc)")
if command -v pkg-config >/dev/null; then
    # the prefix in the file is the one of configure; an installation elsewhere is told so
    flags=$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$prefix" --cflags --libs moxie)
    check "pkg-config knows it" test -n "$flags"
    # shellcheck disable=SC2086 # flags are words
    check "a program of somebody else builds" "$CC" client.c -o client $flags $SANITIZE_FLAGS
    check "and runs" ./client "$prefix/share/moxie/demo.gguf"
    cp log said
    check "and plans" grep -q '^48 experts' said
fi

if command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null; then
    check "cpack -G DEB" "$(dirname "$CMAKE")/cpack" -G DEB --config "$BUILD/CPackConfig.cmake" -B "$WORK/package"
    deb=$(find "$WORK/package" -maxdepth 1 -name '*.deb')
    check "one package" test -f "$deb"
    dpkg-deb -c "$deb" | awk '{ print $6 }' >contents
    for file in ./usr/bin/moxie ./usr/share/man/man1/moxie.1 ./usr/share/man/man1/moxie-run.1 \
        ./usr/share/bash-completion/completions/moxie ./usr/share/fish/vendor_completions.d/moxie.fish; do
        check "the package has $file" grep -qx "$file" contents
    done
    check "it depends on what it uses" sh -c "dpkg-deb -f '$deb' Depends | grep -q libc6"
    dpkg-deb -x "$deb" unpacked
    check "its program runs" unpacked/usr/bin/moxie run --raw -p 'It was a bright' -n 4
    rm -rf package unpacked
fi
rm -rf prefix
echo "$failures failed"
[ "$failures" -eq 0 ]
