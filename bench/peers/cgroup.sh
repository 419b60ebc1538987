# shellcheck shell=bash
# One cgroup with a memory limit, v2 or v1, whichever has the memory controller here. Sourced by run; root only.
# No swap: what does not fit is killed, as it would be on a machine of that size without swap.
cgroup='' cgroup_bytes=0

cgroup_make() { # cgroup_make BYTES: says on stderr why not
    local root
    cgroup_bytes=$1
    root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    if [ -n "$root" ] && grep -qw memory "$root/cgroup.controllers" 2>/dev/null; then
        grep -qw memory "$root/cgroup.subtree_control" || echo +memory >"$root/cgroup.subtree_control" || return 1
        cgroup=$root/moxie-peers-$$
        mkdir "$cgroup" && echo "$1" >"$cgroup/memory.max" || return 1
        [ ! -e "$cgroup/memory.swap.max" ] || echo 0 >"$cgroup/memory.swap.max"
        return
    fi
    root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
    [ -n "$root" ] || { echo "no cgroup with a memory controller is mounted" >&2; return 1; }
    cgroup=$root/moxie-peers-$$
    mkdir "$cgroup" && echo "$1" >"$cgroup/memory.limit_in_bytes" || return 1
    [ ! -e "$cgroup/memory.swappiness" ] || echo 0 >"$cgroup/memory.swappiness"
}

# cgroup_enter: the calling process joins, and all it starts.
cgroup_enter() {
    [ -z "$cgroup" ] || echo $BASHPID >"$cgroup/cgroup.procs"
}

# Processes that ended a moment ago may hold it busy for another.
cgroup_remove() {
    local pid try
    [ -n "$cgroup" ] && [ -d "$cgroup" ] || { cgroup=''; return 0; }
    while read -r pid; do
        kill -KILL "$pid" 2>/dev/null
    done <"$cgroup/cgroup.procs"
    for try in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$cgroup" 2>/dev/null && break
        sleep 0.2
    done
    [ ! -d "$cgroup" ] || echo "run: $cgroup is still busy, remove it by hand" >&2
    cgroup=''
}
