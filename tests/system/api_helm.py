#!/usr/bin/env python3
# parallel: yes
"""What helm does with a chart of a config map, a secret and a pod: install, upgrade, list, rollback, uninstall."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, expect, expect_equal, expect_match, run, skip
from limpet import Device

CHART = {
    "Chart.yaml": """
apiVersion: v2
name: shell
version: 0.1.0
appVersion: "1"
""",
    "values.yaml": """
greeting: hello
password: hold
""",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}
data:
  greeting: {{ .Values.greeting | quote }}
  revision: {{ .Release.Revision | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-password}
stringData: {password: {{ .Values.password | quote }}}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-extra}
{{- end }}
""",
    # Nobody places it: what runs is not the point here.
    "templates/pod.yaml": """
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-pod
  labels: {greeting: {{ .Values.greeting | quote }}}
spec:
  schedulerName: nobody
  containers: [{name: main, image: "busybox:1", env: [{name: CAPABILITIES, value: {{ .Capabilities.KubeVersion.Version | quote }}}]}]
""",
    "templates/NOTES.txt": "Say {{ .Values.greeting }}.\n",
}

if not shutil.which("helm"):
    skip("no helm")
device = Device(registry=False).start()
kubectl = device.kubectl


def helm(words, timeout=120):
    code, out, err = device.run("helm " + words, timeout=timeout)
    if code != 0:
        raise Failure(f"helm {words}: exit code {code}: {out[-800:]}{err[-1500:]}")
    return out


def write_chart():
    directory = os.path.join(device.home, "chart")
    for name, text in CHART.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.lstrip("\n"))
    return directory


def names(kind):
    return [n for n in device.names(f"/api/v1/namespaces/shop/{kind}") if n.startswith("web-")]


def greeting():
    return kubectl("get configmap web-settings -n shop -o jsonpath={.data.greeting}")


def listed():
    """Revision and status of the release as `helm list` has them."""
    [release] = json.loads(helm("list -n shop -o json"))
    return release["revision"], release["status"]


@case
def life_of_a_release():
    chart = write_chart()
    expect_match("Say hello", helm(f"install web {chart} -n shop --create-namespace"))
    expect_equal(listed(), ("1", "deployed"))
    expect_equal((names("configmaps"), names("secrets"), names("pods")),
                 (["web-settings"], ["web-password"], ["web-pod"]))
    expect_equal(greeting(), "hello")
    uid = kubectl("get pod web-pod -n shop -o jsonpath={.metadata.uid}")

    expect_match("Say bye", helm(f"upgrade web {chart} -n shop --set greeting=bye --set extra=true"))
    expect_equal(listed(), ("2", "deployed"))
    expect_equal((greeting(), names("configmaps")), ("bye", ["web-extra", "web-settings"]))
    expect_equal(kubectl("get pod web-pod -n shop -o jsonpath={.metadata.labels.greeting}"), "bye")
    expect_equal(kubectl("get pod web-pod -n shop -o jsonpath={.metadata.uid}"), uid, "the pod is changed, not replaced")

    # A change that the API refuses fails the upgrade and is told in its words.
    code, out, err = device.run(f"helm upgrade web {chart} -n shop --set extra=true --set greeting='not a label!'", timeout=120)
    expect(code != 0, "an invalid label is taken")
    expect_match("metadata.labels: Invalid value", out + err)

    helm("rollback web 1 -n shop")
    expect_equal((greeting(), names("configmaps")), ("hello", ["web-settings"]))
    revision, status = listed()
    expect_equal((int(revision) >= 3, status), (True, "deployed"))
    history = json.loads(helm("history web -n shop -o json"))
    expect_equal(history[-1]["description"], "Rollback to 1")
    expect_match('greeting: "hello"', helm("get manifest web -n shop"))

    expect_match('release "web" uninstalled', helm("uninstall web -n shop --wait"))
    expect_equal((names("configmaps"), names("secrets"), names("pods")), ([], [], []))
    expect_equal(json.loads(helm("list -n shop -o json")), [])


run(device)
