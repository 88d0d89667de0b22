"""One limpetd for system tests in Python: its own directories, real kubectl, a local registry, and a look for leaks.

    device = Device().start()
    device.apply(pod("a", "sleep 1000"))
    device.wait_status("a", "Running")
    print(device.kubectl("get pod a -o wide"))
    run(device)                                   # of case.py

tests/run.sh gives every test file namespaces of its own (tests/lib/sandbox.sh), so that ports, links, mounts and
processes of two tests never meet, and what one leaves behind ends with it. Questions go over the unix socket, since a
run of kubectl costs much more CPU; what is tested goes through kubectl.
"""
import glob
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time

from case import Failure, Skip, eventually, skip
from registry import Registry

IMAGE = "127.0.0.1:5000/busybox:1"
BUILD = os.environ["LIMPET_BUILD"]
SCRATCH = os.environ["TEST_TMP"]
PROGRAMS = ["src/daemon/limpetd", "src/shim/limpet-shim", "src/unpack/limpet-unpack", "src/cli/limpet"]
POD_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def pod(name, script="exec sleep 100000", container=None, **spec):
    """A pod of one container "main" that runs a shell script; `container` adds to the container, the rest to spec."""
    main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    main.update(container or {})
    whole = {"terminationGracePeriodSeconds": 1, "containers": [main]}
    whole.update(spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name, **data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def install_programs(directory):
    """All programs side by side, as an installation has them; False when one that runs pods is missing."""
    os.makedirs(directory, exist_ok=True)
    complete = True
    for program in PROGRAMS:
        source = os.path.join(BUILD, program)
        target = os.path.join(directory, os.path.basename(program))
        if not os.path.exists(source):
            complete = complete and program.endswith("/limpet")
        elif not os.path.exists(target):
            try:
                os.link(source, target)
            except OSError:
                shutil.copy2(source, target)
    return complete


def command_lines():
    """Number and words (bytes) of every process that can be seen."""
    for entry in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(entry, "rb") as file:
                yield int(entry.split("/")[2]), file.read().split(b"\0")
        except OSError:
            continue


class Device:
    """`apart`: in network and mount namespaces of its own below those of the test. config: further keys."""

    def __init__(self, name="device", apart=False, registry=True, **config):
        self.name = name
        self.home = os.path.join(SCRATCH, name)
        self.run_dir = os.path.join(self.home, "run")
        self.data_dir = os.path.join(self.home, "data")
        self.logs_dir = os.path.join(self.home, "logs")
        self.kubeconfig = os.path.join(self.home, "etc", "admin.kubeconfig")
        self.cgroup_root = f"limpet-{os.path.basename(SCRATCH)}-{name}"
        self.programs = os.path.join(SCRATCH, "bin")
        self.runs_pods = install_programs(self.programs)
        self.process = self.holder = None
        self.prefix = []
        self.launcher = []  # words before the daemon's own
        os.makedirs(os.path.join(self.home, "etc"), exist_ok=True)
        if apart:
            self._make_space()
        self.registry = Registry(os.path.join(self.home, "registry"), prefix=self.prefix) if registry else None
        self.configure(**config)

    def _make_space(self):
        script = "ip link set lo up; echo ready; exec sleep infinity"
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script],
                                       stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.holder.stdout.readline()
        self.prefix = ["nsenter", "--net", "--mount", "--target", str(self.holder.pid)]

    def configure(self, **config):
        settings = {"nodeName": self.name, "dataDir": self.data_dir, "runDir": self.run_dir,
                    "adminKubeconfig": self.kubeconfig, "cgroupRoot": self.cgroup_root,
                    "manifestsDir": os.path.join(self.home, "etc", "manifests"),
                    "registries": {"insecure": ["127.0.0.1:5000"]}, "logs": {"dir": self.logs_dir, "level": "debug"}}
        for key, value in config.items():
            if isinstance(value, dict):
                value = {**settings.get(key, {}), **value}
            settings[key] = value
        # Several devices in one namespace have ports of their own.
        port = settings.get("listen", {}).get("api", {}).get("port")
        if port:
            settings["listen"].setdefault("peers", {"address": "127.0.0.1", "port": port + 10000})
        with open(self.config_file, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=1)  # JSON is YAML

    @property
    def config_file(self):
        return os.path.join(self.home, "limpetd.yaml")

    @property
    def log_file(self):
        return os.path.join(self.home, "log")

    # ---- life ----

    def start(self, wait=True):
        if self.registry and not self.registry.process:
            self.registry.start().wait().push()
        self.start_daemon(wait)
        return self

    def start_daemon(self, wait=True, environment=None):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.prefix + self.launcher + [os.path.join(self.programs, "limpetd"), "--config", self.config_file],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        def ready():
            if self.process.poll() is not None:
                return "ended"
            return self.api("GET", "/readyz", raw=True) == "ok"

        if eventually(ready, seconds, "limpetd is ready", every=0.02) == "ended":
            raise Failure(f"limpetd ended with {self.process.returncode}\n{self.log_tail()}")

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon, not the containers; its exit status."""
        if not self.process:
            return None
        self.process.send_signal(number)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure("limpetd does not stop within 30 s") from None
        finally:
            self.process = None
        return status

    def kill(self):
        return self.stop(signal.SIGKILL)

    def log_tail(self, lines=25):
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as file:
                return "--- the daemon's last lines:\n" + "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    def close(self):
        """Deletes all pods, stops everything, returns what is left behind although it should not be."""
        leaks = []
        try:
            if self.process and self.process.poll() is None:
                if self.runs_pods:
                    leaks = self._delete_pods()
                status = self.stop()
                if status:
                    leaks.append(f"limpetd stopped with status {status}")
            elif self.process:
                leaks = [f"limpetd ended by itself with {self.process.returncode}"]
        except (Failure, OSError) as error:
            leaks.append(str(error))
        finally:
            self._end()
        return leaks

    def _delete_pods(self):
        for namespace in self.names("/api/v1/namespaces"):
            for kind in ("apis/apps/v1", "deployments"), ("apis/apps/v1", "replicasets"), ("api/v1", "pods"):
                self.api("DELETE", f"/{kind[0]}/namespaces/{namespace}/{kind[1]}", check=False)
        try:
            eventually(lambda: not self.names("/api/v1/pods"), 40, "all pods are gone")
            eventually(lambda: not self.leaks(), 20, "nothing is left")
        except Failure as failure:
            return self.leaks() or [str(failure)]
        return []

    def _end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.registry:
            self.registry.stop()
        self.kill_containers()
        for mount in reversed(self.mounts()):
            subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)
        for directory in self.cgroup_directories(below=True) + self.cgroup_directories():
            try:
                os.rmdir(directory)
            except OSError:
                pass
        if self.holder:
            self.holder.kill()
            self.holder.wait()

    def kill_containers(self):
        """As a power cut does: every process of the device's cgroups and every shim."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pids = self.container_pids() + self.shim_pids()
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    # ---- what is there ----

    def cgroup_directories(self, below=False):
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split()[4] for line in file if " - cgroup" in line]
        roots = [r for r in (os.path.join(m, self.cgroup_root) for m in mounts) if os.path.isdir(r)]
        if not below:
            return roots
        found = []
        for root in roots:
            found += [path for path, _, _ in os.walk(root, topdown=False) if path != root]
        return found

    def container_pids(self):
        """Of everything in the pods' cgroups, first processes and others."""
        pids = set()
        for directory in self.cgroup_directories(below=True):
            if "/pod" in directory[directory.index(self.cgroup_root):]:
                try:
                    with open(os.path.join(directory, "cgroup.procs"), encoding="utf-8") as file:
                        pids.update(int(line) for line in file)
                except OSError:
                    pass
        return sorted(pids - {0})

    def shim_pids(self):
        return [pid for pid, words in command_lines()
                if words[0].endswith(b"limpet-shim") and self.run_dir.encode() in b"\0".join(words)]

    def mounts(self):
        source = f"/proc/{self.holder.pid}/mountinfo" if self.holder else "/proc/self/mountinfo"
        with open(source, encoding="utf-8") as file:
            points = [line.split()[4] for line in file]
        return [p for p in points if p.startswith(self.home + "/") and p != self.run_dir]  # runDir may be a tmpfs

    def links(self):
        """Ends of veth pairs that hang on the bridge."""
        text = subprocess.run(self.prefix + ["ip", "-o", "link", "show", "type", "veth"], check=False,
                              stdout=subprocess.PIPE, text=True).stdout
        return [line.split(":")[1].strip() for line in text.splitlines() if "master" in line]

    def leaks(self):
        """What must be gone once no pod is left."""
        out = [f"mount {m}" for m in self.mounts()]
        out += [f"cgroup {d}" for d in self.cgroup_directories(below=True) if "/pod" in d]
        out += [f"link {name}" for name in self.links()]
        out += [f"process {pid} of a container" for pid in self.container_pids()]
        out += [f"shim {pid}" for pid in self.shim_pids()]
        for directory in (self.run_dir + "/pods", self.run_dir + "/runtime", self.data_dir + "/containers",
                          self.data_dir + "/pods", self.logs_dir):
            if os.path.isdir(directory):
                # crun (that of Debian 13 is one) keeps what it compiled of seccomp profiles, one file for each different one.
                names = [name for name in os.listdir(directory) if name != ".cache"]
                out += [f"file {os.path.join(directory, name)}" for name in names]
        return out

    # ---- the API ----

    def api(self, method, path, body=None, check=True, raw=False, headers=None):
        """Over the socket as root. The parsed answer; with `raw` its text; Failure for what is not 2xx."""
        connection = _SocketConnection(os.path.join(self.run_dir, "limpet.sock"))
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise Failure(f"{method} {path}: {error!r}") from None
        finally:
            connection.close()
        if check and not 200 <= answer.status < 300:
            raise Failure(f"{method} {path}: {answer.status} {text[:600]}")
        return text if raw else json.loads(text)

    def watch_code(self, path, revision):
        """The code with which a watch from there ends; None when it goes on."""
        connection = _SocketConnection(os.path.join(self.run_dir, "limpet.sock"))
        try:
            connection.request("GET", f"{path}?watch=1&resourceVersion={revision}&timeoutSeconds=3")
            answer = connection.getresponse()
            if answer.status != 200:
                return answer.status
            events = (json.loads(line) for line in answer)
            return next((event["object"]["code"] for event in events if event["type"] == "ERROR"), None)
        finally:
            connection.close()

    def names(self, path):
        return [item["metadata"]["name"] for item in self.api("GET", path)["items"]]

    def pod(self, name, namespace="default"):
        return self.api("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def row(self, name, namespace="default"):
        """Cells by column name of what `kubectl get pod` prints."""
        table = self.api("GET", f"/api/v1/namespaces/{namespace}/pods/{name}", headers={"Accept": POD_TABLE})
        return dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"]))

    def events(self, name, namespace="default"):
        path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}"
        return [f"{e['type']} {e['reason']} {e.get('message', '')}" for e in self.api("GET", path)["items"]]

    def explain(self, name, namespace="default"):
        try:
            status = self.pod(name, namespace)["status"]
            return json.dumps(status)[:1500] + "\n  " + "\n  ".join(self.events(name, namespace)[-8:])
        except (Failure, OSError) as error:
            return str(error)

    def wait_pod(self, name, condition, seconds=30, what="", namespace="default"):
        try:
            return eventually(lambda: condition(p) and p if (p := self.pod(name, namespace)) else None, seconds,
                              what or f"pod {name}")
        except Failure as failure:
            raise Failure(f"{failure}\n  {self.explain(name, namespace)}") from None

    def wait_status(self, name, pattern, seconds=30, namespace="default"):
        """Until the STATUS column matches the whole pattern."""
        try:
            eventually(lambda: re.fullmatch(pattern, self.row(name, namespace)["Status"]), seconds,
                       f"pod {name} is {pattern}")
        except Failure as failure:
            raise Failure(f"{failure}\n  {self.explain(name, namespace)}") from None
        return self.pod(name, namespace)

    def wait_ready_pod(self, name, seconds=30, namespace="default"):
        return self.wait_pod(name, is_ready, seconds, f"pod {name} is ready", namespace)

    def wait_gone(self, name, seconds=30, namespace="default"):
        eventually(lambda: name not in self.names(f"/api/v1/namespaces/{namespace}/pods"), seconds, f"pod {name} is gone")

    # ---- kubectl ----

    def environment(self):
        return {**os.environ, "KUBECONFIG": self.kubeconfig, "HOME": self.home, "KUBECACHEDIR": self.home + "/cache",
                "PATH": self.programs + ":" + os.environ["PATH"], "LIMPET_SOCKET": self.run_dir + "/limpet.sock"}

    def command(self, words):
        return self.prefix + (shlex.split(words) if isinstance(words, str) else list(words))

    def run(self, words, input=None, timeout=60):
        """Exit code, standard output, standard error."""
        try:
            done = subprocess.run(self.command(words), input=input, timeout=timeout, env=self.environment(), check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                  stdin=subprocess.DEVNULL if input is None else None)
        except subprocess.TimeoutExpired as late:
            out = (late.stdout or b"").decode("utf-8", "replace") + (late.stderr or b"").decode("utf-8", "replace")
            raise Failure(f"{words}: no end within {timeout} s: {out[-800:]}") from None
        return done.returncode, done.stdout, done.stderr

    def popen(self, words, **options):
        """A process whose end is the caller's business; its outputs come as one text."""
        return subprocess.Popen(self.command(words), env=self.environment(), text=True, errors="replace",
                                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options})

    def kubectl(self, words, input=None, timeout=60):
        """Its standard output; Failure unless it succeeds."""
        words = ["kubectl"] + (shlex.split(words) if isinstance(words, str) else list(words))
        code, out, err = self.run(words, input, timeout)
        if code != 0:
            raise Failure(f"{shlex.join(words)}: exit code {code}: {out[-800:]}{err[-1500:]}")
        return out

    def refused(self, words, input=None, timeout=60):
        """Both outputs of a kubectl that must fail."""
        words = ["kubectl"] + (shlex.split(words) if isinstance(words, str) else list(words))
        code, out, err = self.run(words, input, timeout)
        if code == 0:
            raise Failure(f"{shlex.join(words)}: succeeds: {out[-800:]}")
        return out + err

    def wait_logs(self, words, wanted, seconds=60):
        """Until `kubectl logs WORDS` is this text: what a container says first comes after it is said to run."""
        eventually(lambda: (text := self.kubectl("logs " + words)) == wanted or _other(text, wanted), seconds, f"logs {words}", every=0.3)

    def apply(self, *objects, options=""):
        """As a stream of JSON, without the lines of YAML between that older kubectl cannot read there."""
        return self.kubectl("apply -f - " + options, "\n".join(json.dumps(o) for o in objects))

    def create(self, *objects, namespace="default"):
        """Over the socket: for what is not the point of a test."""
        for value in objects:
            kind = value["kind"].lower() + "s"
            self.api("POST", f"/api/v1/namespaces/{namespace}/{kind}", value)


def pss_kb(pid, which="Pss"):
    """A process's share of memory, as the kernel counts it; Pss_Anon is what it wrote to itself."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which + ":"))


_kubectl_versions = {}


def kubectl_version(environment=None):
    """(1, 35) of the kubectl that the tests find."""
    program = shutil.which("kubectl", path=(environment or os.environ)["PATH"])
    if program not in _kubectl_versions:
        text = subprocess.run([program, "version", "--client", "-o", "json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = re.search(r"v(\d+)\.(\d+)", json.loads(text)["clientVersion"]["gitVersion"])
        _kubectl_versions[program] = (int(found.group(1)), int(found.group(2)))
    return _kubectl_versions[program]


def kubectl_at_least(version):
    """Whether kubectl is of that version, "1.27", or later: a fresh Debian 12 has 1.20."""
    return kubectl_version() >= tuple(int(n) for n in version.split("."))


def needs_kubectl(version, what):
    """Skips the case where kubectl is older."""
    if not kubectl_at_least(version):
        raise Skip(f"kubectl {'.'.join(map(str, kubectl_version()))} has no {what}: that came with {version}")


def is_ready(pod_object):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod_object["status"].get("conditions", []))


def _other(text, wanted):
    raise Failure(f"got {text[-800:]!r}, wanted {wanted[-800:]!r}")


def container_status(pod_object, name="main", kind="containerStatuses"):
    for status in pod_object["status"].get(kind, []):
        if status["name"] == name:
            return status
    raise Failure(f"no status of container {name}")


def pod_device(**options):
    """A started device that runs pods, or the test is skipped with the reason."""
    device = Device(**options)
    if not device.runs_pods:
        skip("limpet-shim or limpet-unpack is not built")
    if not shutil.which("kubectl"):
        skip("no kubectl")
    if not shutil.which("runc") and not shutil.which("crun"):
        skip("no crun or runc")
    return device.start()
