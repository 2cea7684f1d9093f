#!/bin/bash
# Runs systemd as process 1 of new namespaces (mount, PID, network, IPC, UTS, cgroup), with the units of a folder, on a
# copy-on-write view of this machine's files. Needs root. All that it writes lies in a tmpfs that ends with it.
#   unshare --mount --pid --net --uts --ipc --fork --kill-child systemd.sh FOLDER TARGET [FROM=TO...]
# FOLDER has etc/ (copied over /etc), and gets console.txt; the processes see it as /probe, and FROM, read-only, as TO.
set -euo pipefail
folder=$1 target=$2
shift 2
mount --make-rprivate /
work="$folder/work"
mkdir -p "$work"
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/changes" "$work/root" "$work/cgroup"

# A cgroup of its own; systemd removes what it makes below it.
mount -t cgroup2 cgroup2 "$work/cgroup"
mkdir -p "$work/cgroup/pvlr-systemd-test"
echo $$ > "$work/cgroup/pvlr-systemd-test/cgroup.procs"

mount -t overlay overlay -o "lowerdir=/,upperdir=$work/changes,workdir=$work/upper" "$work/root"
cd "$work/root"
mount -t proc proc proc
for path in run tmp dev; do mount -t tmpfs tmpfs $path; done
mount -t sysfs -o ro sysfs sys
for name in null zero full random urandom tty; do
  touch dev/$name
  mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm probe
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
for number in 0 1 2; do ln -s "/proc/self/fd/$number" "dev/$(echo stdin stdout stderr | cut -d' ' -f$((number + 1)))"; done
ln -s /proc/self/fd dev/fd
: > "$folder/console.txt"
touch dev/console
mount --bind "$folder/console.txt" dev/console
mount --bind "$folder" probe
for pair in "$@"; do
  mkdir -p ".${pair#*=}"
  mount --bind -o ro "${pair%%=*}" ".${pair#*=}"
done
echo 0123456789abcdef0123456789abcdef > etc/machine-id
grep -q ^render: etc/group || echo render:x:970: >> etc/group
grep -q ^video: etc/group || echo video:x:971: >> etc/group
echo container:x:10001:10001::/:/bin/false >> etc/passwd
echo container:x:10001: >> etc/group
cp -r "$folder/etc/." etc/
ip link set lo up || true
# Not chroot, below which no process may make a user namespace (PrivateUsers=).
mkdir old
pivot_root . old
cd /
exec unshare --cgroup bash -c "mount -t cgroup2 cgroup2 /sys/fs/cgroup && umount -l /old && exec env -i container=pvlr \
  PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_LOG_TARGET=console \
  /lib/systemd/systemd --system --unit=$target --show-status=no"
