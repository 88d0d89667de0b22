#!/usr/bin/env python3
# timeout: 240
"""What a container finds: environment, volumes, /etc/hosts and friends."""
import base64
import json
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import config_map, container_status, is_ready, pod, pod_device, secret

device = pod_device()
kubectl = device.kubectl
device.create(config_map("settings", color="blue", shape="round", **{"app.conf": "line one\nline two\n"}),
              secret("keys", password="hold", user="tide"))


def source(**which):
    return {"valueFrom": which}


def output(name, script, **options):
    """Runs a pod to its end and returns what it wrote."""
    device.create(pod(name, script, restartPolicy="Never", **options))
    device.wait_pod(name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
    return kubectl(f"logs {name}")


@case
def environment():
    field = lambda path: source(fieldRef={"fieldPath": path})
    limit = lambda what, divisor="1": source(resourceFieldRef={"resource": what, "divisor": divisor})
    variables = {
        "LITERAL": {"value": "a b"}, "BUILT": {"value": "$(LITERAL)-$(COLOR)-$(NOPE)-$$(COLOR)"},
        "COLOR": source(configMapKeyRef={"name": "settings", "key": "color"}),
        "PASSWORD": source(secretKeyRef={"name": "keys", "key": "password"}),
        "MAYBE": source(configMapKeyRef={"name": "absent", "key": "x", "optional": True}),
        "POD": field("metadata.name"), "SPACE": field("metadata.namespace"), "NODE": field("spec.nodeName"),
        "IP": field("status.podIP"), "HOST": field("status.hostIP"), "LABEL": field("metadata.labels['app']"),
        "ACCOUNT": field("spec.serviceAccountName"), "CPU": limit("limits.cpu"), "MEMORY": limit("limits.memory", "1Mi")}
    order = ["LITERAL", "COLOR"] + [n for n in variables if n not in ("LITERAL", "COLOR")]
    text = output("env", "env", container={
        "env": [{"name": name, **variables[name]} for name in order],
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "K_", "secretRef": {"name": "keys"}},
                    {"configMapRef": {"name": "absent", "optional": True}}],
        "resources": {"limits": {"cpu": "2", "memory": "64Mi"}}})
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    for name, wanted in {"LITERAL": "a b", "BUILT": "a b-blue-$(NOPE)-$(COLOR)", "COLOR": "blue", "PASSWORD": "hold", "POD": "env",
                         "SPACE": "default", "NODE": "device", "LABEL": "env", "ACCOUNT": "default", "CPU": "2", "MEMORY": "64",
                         "shape": "round", "K_user": "tide", "HOSTNAME": "env", "HOME": "/root"}.items():
        expect_equal(found.get(name), wanted, name)
    expect("MAYBE" not in found, "an optional variable without a value")
    expect_match(r"^10\.42\.", found["IP"])
    expect_match(r"^\d+\.\d+\.\d+\.\d+$", found["HOST"])


def volume(kind, path, read_only=False, **more):
    return ({"volumeMounts": [{"name": "v", "mountPath": path, "readOnly": read_only}]}, [{"name": "v", **kind, **more}])


@case
def empty_dir():
    container, volumes = volume({"emptyDir": {}}, "/data")
    expect_equal(output("disk", "echo x > /data/f; cat /data/f; stat -c %a /data", container=container, volumes=volumes), "x\n777\n")
    container, volumes = volume({"emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}, "/data")
    text = output("memory", "grep ' /data ' /proc/mounts; dd if=/dev/zero of=/data/f bs=1M count=4 2>&1 | grep -o 'No space' | head -1",
                  container=container, volumes=volumes)
    expect_match(r"^\S+ /data tmpfs .*size=2048k", text)
    expect_match("No space", text)


@case
def empty_dir_outlives_a_container():
    container, volumes = volume({"emptyDir": {}}, "/data")
    device.create(pod("lasting", "echo x >> /data/f; [ $(wc -l < /data/f) -ge 2 ] && exec sleep 100000; exit 1", container=container, volumes=volumes))
    device.wait_pod("lasting", lambda p: is_ready(p) and container_status(p)["restartCount"] == 1, 40)  # the first run may be seen too
    expect_equal(kubectl("exec lasting -- cat /data/f"), "x\nx\n")


@case
def config_map_volume():
    container, volumes = volume({"configMap": {"name": "settings"}}, "/etc/app", True)
    device.create(pod("configured", container=container, volumes=volumes))
    device.wait_ready_pod("configured")
    expect_equal(kubectl("exec configured -- sh -c 'ls /etc/app; cat /etc/app/app.conf'"), "app.conf\ncolor\nshape\nline one\nline two\n")
    _, _, err = device.run("kubectl exec configured -- sh -c 'echo x > /etc/app/color'")
    expect_match("Read-only file system", err)


@case
def written_volumes_are_read_only():
    """Also where the mount does not ask for it: who can write there could lead the daemon's own writes astray."""
    kinds = {"configmap": {"configMap": {"name": "settings"}}, "secret": {"secret": {"secretName": "keys"}},
             "downward": {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
             "both": {"projected": {"sources": [{"configMap": {"name": "settings"}}]}}}
    mounts = [{"name": name, "mountPath": "/v/" + name} for name in kinds]
    mounts.append({"name": "configmap", "mountPath": "/v/part", "subPath": "color", "readOnly": False})
    text = output("writing", "for d in /v/*; do [ -d $d ] && f=$d/new || f=$d; (echo x > $f) 2>&1; done; (mv /v/both/..data /v/both/gone) 2>&1",
                  container={"volumeMounts": mounts}, volumes=[{"name": name, **kind} for name, kind in kinds.items()])
    expect_equal(text.count("Read-only file system"), len(mounts) + 1, text)


@case
def chosen_keys_and_modes():
    kind = {"secret": {"secretName": "keys", "defaultMode": 0o400, "items": [{"key": "password", "path": "deep/er/pass", "mode": 0o440}]}}
    container, volumes = volume(kind, "/s")
    expect_equal(output("keyed", "cat /s/deep/er/pass; echo; stat -L -c %a /s/deep/er/pass; ls /s",
                        container=container, volumes=volumes), "hold\n440\ndeep\n")


@case
def missing_volume_source():
    container, volumes = volume({"configMap": {"name": "nowhere"}}, "/x")
    device.create(pod("waiting", container=container, volumes=volumes))
    device.wait_status("waiting", "ContainerCreating|Init:.*", 10)
    eventually(lambda: any("FailedMount" in e and 'configmap "nowhere" not found' in e for e in device.events("waiting")), 20, "FailedMount")
    container, volumes = volume({"configMap": {"name": "nowhere", "optional": True}}, "/x")
    expect_equal(output("optional", "ls /x | wc -l", container=container, volumes=volumes), "0\n")


@case
def host_path():
    place = os.path.join(device.home, "host")
    container, volumes = volume({"hostPath": {"path": place, "type": "DirectoryOrCreate"}}, "/host")
    output("host", "echo from the pod > /host/note", container=container, volumes=volumes)
    with open(place + "/note", encoding="utf-8") as file:
        expect_equal(file.read(), "from the pod\n")
    container, volumes = volume({"hostPath": {"path": place + "/absent", "type": "Directory"}}, "/host")
    device.create(pod("nohost", container=container, volumes=volumes))
    eventually(lambda: any("FailedMount" in e and "hostPath type check failed" in e for e in device.events("nohost")), 20, "FailedMount")


@case
def sub_path():
    container = {"volumeMounts": [{"name": "v", "mountPath": "/etc/one.conf", "subPath": "app.conf", "readOnly": True},
                                  {"name": "w", "mountPath": "/scratch", "subPathExpr": "of-$(POD)"}],
                 "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}
    place = os.path.join(device.home, "sub")
    os.makedirs(place)
    text = output("parts", "cat /etc/one.conf; echo y > /scratch/f; ls /etc | grep -c conf", container=container,
                  volumes=[{"name": "v", "configMap": {"name": "settings"}}, {"name": "w", "hostPath": {"path": place}}])
    expect_match("^line one\nline two\n", text)
    expect(os.path.exists(place + "/of-parts/f"), "the expanded sub path")


@case
def sub_path_does_not_leave_its_volume():
    place = os.path.join(device.home, "trap")
    os.makedirs(place)
    os.symlink("/etc", place + "/link")
    device.create(pod("leaving", "ls /x; exec sleep 100000", container={"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "link"}]},
                      volumes=[{"name": "v", "hostPath": {"path": place}}]))
    found = device.wait_pod("leaving", lambda p: p["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("message"), 20)
    status = found["status"]["containerStatuses"][0]
    expect_match("Error|CrashLoopBackOff", status["state"]["waiting"]["reason"])
    expect("startedAt" not in status["lastState"].get("terminated", {}) or status["lastState"]["terminated"]["reason"] == "StartError",
           str(status))


@case
def downward_and_projected():
    volumes = [{"name": "v", "projected": {"sources": [
        {"configMap": {"name": "settings", "items": [{"key": "color", "path": "color"}]}},
        {"secret": {"name": "keys"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]
    expect_equal(output("projected", "cd /p; ls; cat color labels", volumes=volumes,
                        container={"volumeMounts": [{"name": "v", "mountPath": "/p"}]}),
                 'color\nlabels\npassword\nuser\nblueapp="projected"\n')


@case
def service_account_token():
    """Projected when a pod names one: bound to the pod, for the audience asked."""
    volumes = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "tide", "expirationSeconds": 600}}]}}]
    text = output("tokened", "cat /t/token", volumes=volumes, container={"volumeMounts": [{"name": "v", "mountPath": "/t"}]})
    claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    expect_equal(claims["aud"], ["tide"])
    expect_equal(claims["sub"], "system:serviceaccount:default:default")
    expect_equal(claims["kubernetes.io"]["pod"]["name"], "tokened")


@case
def host_files():
    text = output("named", "cat /etc/hosts; hostname; cat /etc/hostname", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["far", "away"]}])
    expect_match(r"^127\.0\.0\.1\s+localhost", text)
    expect_match(r"^10\.42\.\d+\.\d+\s+named$", text)
    expect_match(r"^192\.0\.2\.9\s+far\s+away", text)
    expect_match(r"^named\nnamed$", text)
    text = output("resolver", "cat /etc/resolv.conf", dnsPolicy="None",
                  dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "3"}]})
    expect_equal(sorted(text.split("\n")), sorted(["nameserver 192.0.2.53", "search a.example", "options ndots:3", ""]))


@case
def files_of_the_device_stay_small():
    """/etc/hosts and the termination log are files of the device's runtime directory, and have little room there."""
    text = output("greedy", "dd if=/dev/zero bs=64k count=600 2>/dev/null >> /etc/hosts; dd if=/dev/zero bs=64k count=600 2>/dev/null > /dev/termination-log;"
                            "cat /etc/hosts /dev/termination-log | wc -c; exit 3")
    expect(int(text) < 1 << 20, f"{text} bytes in files of the device")
    expect_equal(device.pod("greedy")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3)
    device.create(pod("modest"))
    device.wait_ready_pod("modest")


run(device)
