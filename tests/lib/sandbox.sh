#!/bin/bash
# PID 1 of a system test's namespaces (mount, net, uts, ipc, pid): sets the stage, runs the test, reaps what it leaves.
# When this ends, the kernel ends every process of the test; mounts and links go with the namespaces.
set -u
ip link set lo up
hostname "limpet-test-$$" 2>/dev/null
# Private runtime directory: nothing of the machine's own limpet, netns or lock files is seen or touched.
mount -t tmpfs -o mode=755 limpet-test /run
# crun refuses a version 1 hierarchy with a version 2 one mounted inside it; tests see the former only.
# It makes directories there all the same: in a file system of the test's own.
if mountpoint -q /sys/fs/cgroup/unified; then
  umount /sys/fs/cgroup/unified
  mount -t tmpfs -o mode=755 limpet-test /sys/fs/cgroup/unified
fi
"$@" &
wait $!
