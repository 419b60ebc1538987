# Sourced by ./demo and ./check: `need_packages NAME...` installs what is missing of the named Debian packages, as
# root or through sudo. Where neither is possible it prints the one line that does it and stops. On systems without
# dpkg it trusts that the tools are there: cmake says what it does not find.
need_packages() {
    command -v dpkg-query >/dev/null 2>&1 || return 0
    missing=
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=none
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
            as_root=sudo
        else
            echo "Packages are missing, and this user may not install them. As root, run once:" >&2
            echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
            exit 1
        fi
    fi
    echo "installing:$missing" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq update >&2
    # shellcheck disable=SC2086 # a list of names
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y \
        --no-install-recommends $missing >&2
}

# shellcheck disable=SC2034 # used by those who source this file
build_packages="build-essential cmake ninja-build pkg-config liburing-dev libhwloc-dev libxxhash-dev libinih-dev libjansson-dev libedit-dev libpcre2-dev"
# shellcheck disable=SC2034
test_packages="libcriterion-dev bats git clang clang-format libclang-rt-dev tmux valgrind python3-jinja2"

# A compiler cache where there is one; nothing depends on it.
if command -v ccache >/dev/null 2>&1; then
    export CMAKE_C_COMPILER_LAUNCHER="${CMAKE_C_COMPILER_LAUNCHER-ccache}"
fi
