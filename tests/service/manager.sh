# A systemd user manager of its own, for tests: private mounts and a cgroup below this process's own. Run by manager.py
# as root inside `unshare --mount`. Arguments: cgroup name, user id, home, Python's prefix.
set -eu
name=$1 uid=$2 home=$3 prefix=$4
runtime=/run/user/$uid
umount -l /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/systemd/unit-root "$runtime" "$home"
chown "$uid:$uid" "$runtime" "$home" && chmod 700 "$runtime" "$home"
# What logind makes for a session: nodes to lay over what a service is not to see.
for nodes in /run/systemd/inaccessible "$runtime/systemd/inaccessible"; do
    mkdir -p "$nodes/dir" && : >"$nodes/reg" && mkfifo "$nodes/fifo"
    mknod "$nodes/chr" c 0 0 && mknod "$nodes/blk" b 0 0
    chmod 0 "$nodes"/*
done
chown "$uid:$uid" "$runtime/systemd" "$runtime/systemd/inaccessible"
# A Python in somebody's closed home has to be reached by another user, here and only here.
top=/$(printf %s "$prefix" | cut -d/ -f2)
if [ "$(stat -c %a "$top")" = 700 ]; then
    mkdir /run/prefix && mount --bind "$prefix" /run/prefix
    mount -t tmpfs -o mode=755 tmpfs "$top"
    mkdir -p "$prefix" && mount --bind /run/prefix "$prefix"
fi
group=/sys/fs/cgroup/$name
mkdir -p "$group"
echo $$ >"$group/cgroup.procs"
chown "$uid:$uid" "$group" "$group/cgroup.procs" "$group/cgroup.subtree_control" "$group/cgroup.threads"
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups \
    env -i PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$runtime" SYSTEMD_LOG_TARGET=console \
    /lib/systemd/systemd --user
