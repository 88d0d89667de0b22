# Debian 13 roots below build/, made by debootstrap from the archive that this machine's apt uses. Sourced from the top
# of the source tree by what runs something in one: tests/lib/debian13.sh, tests/vm/make.sh.
#
#   debian13_reason                     prints why no root can be made here; nothing when one can
#   debian13_bootstrap ROOT LOG         makes ROOT unless it is there; the packages are fetched once for all roots
#   debian13_sources ROOT               brings the sources as they are now to ROOT/src
#   debian13_enter ROOT SCRIPT [ARG..]  runs the text SCRIPT there with bash
#
# What is entered has mount and PID namespaces of its own, so nothing is left mounted or running.

# The first archive that is Debian's own, not security or a third party's.
debian13_mirror() {
  apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/|main$//p' | grep '/debian/*$' | head -1
}

debian13_reason() {
  if [ "$(id -u)" != 0 ]; then
    echo "needs root"
  elif ! command -v debootstrap >/dev/null; then
    echo "no debootstrap"
  elif [ -z "$(debian13_mirror)" ]; then
    echo "no Debian archive among the apt sources"
  fi
}

debian13_bootstrap() {  # ROOT LOG
  local base proxy
  base=$(realpath build)/debian13-base
  [ ! -f "$1/.complete" ] || return 0
  if [ ! -f "$base/.complete" ]; then
    proxy=$(apt-config dump Acquire::http::Proxy | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p')
    rm -rf "$base"
    (
      [ -z "$proxy" ] || export http_proxy=$proxy
      debootstrap --variant=minbase trixie "$base" "$(debian13_mirror)" >"$2" 2>&1
    ) || { tail -20 "$2" >&2; return 1; }
    [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$base/etc/apt/apt.conf.d/90proxy"
    touch "$base/.complete"
  fi
  rm -rf "$1"
  cp -a "$base" "$1.new"
  mv "$1.new" "$1"
}

debian13_sources() {  # ROOT
  rm -rf "$1/src"
  mkdir -p "$1/src"
  git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -C "$1/src" -xf -
}

debian13_enter() {  # ROOT SCRIPT [ARG...]
  local root=$1 script=$2
  shift 2
  # Names are looked up as this machine does.
  [ ! -e /etc/resolv.conf ] || cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
  [ ! -e /etc/hosts ] || cp -L --remove-destination /etc/hosts "$root/etc/hosts"
  unshare --mount --pid --fork --kill-child --propagation private chroot "$root" /bin/bash -c '
    set -e
    mount -t proc proc /proc
    mkdir -p /dev/pts
    mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
    ln -sf pts/ptmx /dev/ptmx
    export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
    script=$1
    shift
    exec bash -c "$script" inside "$@"' enter "$script" "$@" </dev/null
}

# The build of the debian13 suite, which the guest of the vm suite shares. Sources must be there.
debian13_compile() {  # ROOT [target...]
  local root=$1
  shift
  mkdir -p "$root/build-cache"
  debian13_enter "$root" '
    set -e
    cd /src
    packaging/deps.sh build
    meson setup /build-cache/b >/tmp/setup.log 2>&1 || meson setup --wipe /build-cache/b >/tmp/setup.log 2>&1 ||
      { cat /tmp/setup.log; exit 1; }
    ninja -C /build-cache/b "$@" >/tmp/build.log 2>&1 || { tail -60 /tmp/build.log; exit 1; }' "$@"
}
