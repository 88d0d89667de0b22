# Debian roots below build/, made by debootstrap from the archive that this machine's apt uses. Sourced from the top of
# the source tree by what runs something in one: tests/lib/debian13.sh, tests/lib/fresh.sh, tests/vm/make.sh.
#
#   debian_reason                          prints why no root can be made here; nothing when one can
#   debian_bootstrap RELEASE ROOT LOG      makes ROOT unless it is there; the packages are fetched once for all roots
#   debian_sources ROOT                    brings the sources as they are now to ROOT/src
#   debian_enter ROOT SCRIPT [ARG...]      runs the text SCRIPT there with bash
#   debian_compile ROOT DIR [-OPTION...] [TARGET...]    builds ROOT/src in ROOT/build-cache/DIR; options are meson's
#
# What is entered has mount and PID namespaces of its own, so nothing is left mounted or running.

# The first archive that is Debian's own, not security or a third party's.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/|main$//p' | grep '/debian/*$' | head -1
}

debian_reason() {
  if [ "$(id -u)" != 0 ]; then
    echo "needs root"
  elif ! command -v debootstrap >/dev/null; then
    echo "no debootstrap"
  elif [ -z "$(debian_mirror)" ]; then
    echo "no Debian archive among the apt sources"
  elif ! unshare --mount --pid --fork --kill-child --propagation private true 2>/dev/null; then
    echo "no namespaces to be had"
  fi
}

debian_bootstrap() {  # RELEASE ROOT LOG
  local base proxy
  base=$(realpath build)/$1-base
  [ ! -f "$2/.complete" ] || return 0
  if [ ! -f "$base/.complete" ]; then
    proxy=$(apt-config dump Acquire::http::Proxy | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p')
    rm -rf "$base"
    (
      [ -z "$proxy" ] || export http_proxy=$proxy
      debootstrap --variant=minbase "$1" "$base" "$(debian_mirror)" >"$3" 2>&1
    ) || { tail -20 "$3" >&2; return 1; }
    [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$base/etc/apt/apt.conf.d/90proxy"
    touch "$base/.complete"
  fi
  rm -rf "$2" "$2.new"
  cp -a "$base" "$2.new"
  mv "$2.new" "$2"
}

debian_sources() {  # ROOT
  rm -rf "$1/src"
  mkdir -p "$1/src"
  git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -C "$1/src" -xf -
}

# pivot_root, not chroot: an OCI runtime started there makes its own pivot, which needs a mounted root.
debian_enter() {  # ROOT SCRIPT [ARG...]
  local root=$1 script=$2
  shift 2
  # Names are looked up as this machine does.
  [ ! -e /etc/resolv.conf ] || cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
  [ ! -e /etc/hosts ] || cp -L --remove-destination /etc/hosts "$root/etc/hosts"
  env -i TERM=dumb unshare --mount --pid --fork --kill-child --propagation private /bin/bash -c '
    set -e
    export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
    export DEBIAN_FRONTEND=noninteractive
    root=$1 script=$2
    shift 2
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount -t tmpfs -o mode=755 run run
    mkdir -p run/lock dev/pts dev/shm .outside
    mount -t tmpfs -o mode=1777 shm dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    ln -sf pts/ptmx dev/ptmx
    pivot_root . .outside
    umount -l /.outside
    rmdir /.outside
    cd /
    # A shell of its own, so that this one, PID 1 here, goes on reaping.
    bash -c "$script" inside "$@"
    exit' enter "$root" "$script" "$@" </dev/null
}

# Sources must be there.
debian_compile() {  # ROOT DIR [-OPTION...] [TARGET...]
  local root=$1 dir=/build-cache/$2
  shift 2
  mkdir -p "$root/build-cache"
  debian_enter "$root" '
    set -e
    dir=$1
    shift
    cd /src
    packaging/deps.sh build
    options=()
    while [[ ${1:-} == -* ]]; do options+=("$1"); shift; done
    meson setup "$dir" "${options[@]}" >/tmp/setup.log 2>&1 || meson setup --wipe "$dir" "${options[@]}" >/tmp/setup.log 2>&1 ||
      { cat /tmp/setup.log; exit 1; }
    ninja -C "$dir" "$@" >/tmp/build.log 2>&1 || { tail -60 /tmp/build.log; exit 1; }' "$dir" "$@"
}
