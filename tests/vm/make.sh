#!/bin/bash
# Makes the guest of the vm suite: make.sh DIR LOGDIR. Called by tests/run.sh, from the top of the source tree.
#
#   DIR/kernel, DIR/initrd   Debian 13's kernel and a busybox that mounts the disk
#   DIR/disk                 ext4: Debian 13 with systemd, crun, nftables; limpet as its unit file wants it; tests/vm/root
#
# The Debian part is made once and kept until its recipe changes; limpet is built from the sources as they are now, in the Debian 13 root of
# tests/lib/debian_root.sh. Exit code 77 with a last line: cannot be made here, and why.
set -euo pipefail
. tests/lib/debian_root.sh
dir=$(realpath "$1") logs=$(realpath "$2")
root=$dir/root builder=$(realpath build)/debian13
build=$builder/build-cache/guest
# With failpoints, and half as long to compile as what debuggers want: every run of CI waits for it.
options="-Doptimization=1 -Ddebug=false"
programs="daemon/limpetd shim/limpet-shim unpack/limpet-unpack cli/limpet"
writer=tests/unit/store/store_kill  # of crash_images.py
# No recommended packages: what is here is what a small device has. The libraries are those limpet links.
packages="systemd systemd-sysv udev kmod procps crun nftables iproute2 busybox-static
  libuv1t64 libcjson1 libyaml-0-2 libsqlite3-0 libmbedtls21 libarchive13t64 libzstd1 zlib1g libllhttp9.2"
kernel=linux-image-cloud-amd64
# What this guest has no use for: an emulated processor takes seconds for each.
idle_units="getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
  e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer modprobe@.service
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount run-lock.mount systemd-network-generator.service
  systemd-modules-load.service systemd-pstore.service systemd-update-utmp.service systemd-hibernate-clear.service
  systemd-journal-catalog-update.service systemd-update-done.service systemd-random-seed.service ldconfig.service
  systemd-hwdb-update.service systemd-networkd-persistent-storage.service"
# What stands between the kernel and its root file system.
drivers="virtio_pci virtio_blk ext4"

cannot() { echo "$1"; exit 77; }
reason=$(debian_reason)
[ -z "$reason" ] || cannot "$reason"
[ "$(dpkg --print-architecture)" = amd64 ] || cannot "the guest is made on amd64 only"
for tool in qemu-system-x86_64 qemu-img mke2fs; do
  command -v $tool >/dev/null || cannot "no $tool"
done

# Only the kernel's files: its package would make an initramfs that finds any disk of any machine.
make_debian() {
  rm -rf "$root"
  debian_bootstrap trixie "$root" "$logs/debootstrap.log" ||
    cannot "debootstrap cannot make a Debian 13 root here: $(tail -1 "$logs/debootstrap.log")"
  debian_enter "$root" '
    set -e
    printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $1; } >/tmp/apt.log 2>&1 ||
      { tail -20 /tmp/apt.log; exit 1; }
    image=$(apt-cache depends --no-recommends --no-suggests "$2" | sed -n "s/.*Depends: \(linux-image-.*\)/\1/p" | head -1)
    cd /tmp
    apt-get download -qq "$image" >/tmp/apt.log 2>&1 || { tail -20 /tmp/apt.log; exit 1; }
    dpkg-deb -x linux-image-*.deb /tmp/kernel
    mv /tmp/kernel/boot/vmlinuz-* /vmlinuz
    cp -a /tmp/kernel/usr/lib/modules /usr/lib/ 2>/dev/null || cp -a /tmp/kernel/lib/modules /usr/lib/
    depmod "$(ls /usr/lib/modules)"
    rm -rf /tmp/* /var/cache/apt /var/lib/apt/lists /usr/share/doc /usr/share/man /usr/share/locale
    rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/90proxy
    echo 0123456789abcdef0123456789abcdef >/etc/machine-id
    echo guest >/etc/hostname
    echo "127.0.0.1 localhost guest" >/etc/hosts
    rm -f /etc/resolv.conf
    mkdir -p /var/log/journal' "$packages" "$kernel"
}

make_initrd() {
  local tree=$dir/initrd.tree version modules
  version=$(ls "$root/usr/lib/modules")
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
  cp "$root/usr/bin/busybox" "$tree/bin/busybox"
  modules=$(for driver in $drivers; do chroot "$root" modprobe --set-version "$version" --show-depends "$driver"; done |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++')
  for module in $modules; do
    case $module in
      *.xz) xz -dc "$root/$module" ;;
      *.zst) zstd -dcq "$root/$module" ;;
      *) cat "$root/$module" ;;
    esac >"$tree/modules/$(basename "${module%.xz}" .zst)"
    basename "${module%.xz}" .zst >>"$tree/modules/order"
  done
  cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
while [ ! -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /root || { echo "the disk cannot be mounted"; /bin/busybox poweroff -f; }
init=/sbin/init
for word in $(/bin/busybox cat /proc/cmdline); do case $word in init=*) init=${word#init=} ;; esac; done
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root "$init"
INIT
  chmod 755 "$tree/init"
  (cd "$tree" && find . | "$root/usr/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initrd"
  rm -rf "$tree"
  cp "$root/vmlinuz" "$dir/kernel"
}

install_limpet() {
  local program
  for program in $programs; do
    install -s -m 755 "$build/src/$program" "$root/usr/local/bin/${program#*/}"
  done
  install -D -m 644 packaging/limpetd.service "$root/etc/systemd/system/limpetd.service"
  install -D -s -m 755 "$build/$writer" "$root/usr/local/lib/limpet-guest/store_kill"
  # The image of the examples, as an archive of the device: there is no registry.
  mkdir -p "$root/var/lib/limpet/images"
  python3 packaging/busybox_image.py archive "$root/var/lib/limpet/images/busybox.tar" 127.0.0.1:5000/busybox:1
  cp -rT tests/vm/root "$root"
  # systemctl would have /proc in a chroot, and these are links only.
  local unit
  for unit in $idle_units; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
  for unit in limpet-guest systemd-networkd; do
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -sf "/$(cd "$root" && ls {etc,usr/lib}/systemd/system/$unit.service 2>/dev/null | head -1)" \
      "$root/etc/systemd/system/multi-user.target.wants/$unit.service"
  done
}

stamp=$(sha256sum <<<"$packages $kernel $(declare -f make_debian)")
mkdir -p "$dir"
if [ "$(cat "$dir/debian.stamp" 2>/dev/null)" != "$stamp" ]; then
  rm -f "$dir/debian.stamp"
  make_debian
  echo "$stamp" >"$dir/debian.stamp"
fi
make_initrd
debian_bootstrap trixie "$builder" "$logs/debootstrap.log"
debian_sources "$builder"
# shellcheck disable=SC2086
debian_compile "$builder" guest $options $(printf 'src/%s ' $programs) $writer
install_limpet
rm -f "$dir/disk"
mke2fs -q -t ext4 -m 0 -L guest -d "$root" "$dir/disk" 2G
