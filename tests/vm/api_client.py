"""The API of a guest's device as its administrator, from outside: one TLS connection."""
import base64
import http.client
import json
import os
import ssl

import yaml


class Client:
    """`kubeconfig`: a file; beside it go the certificate and the key, which Python's TLS takes from files only. What
    keeps it from being made, or breaks on the way, is an OSError; when it was made, nothing was asked yet."""

    def __init__(self, kubeconfig, port, timeout=60):
        with open(kubeconfig, encoding="utf-8") as file:
            config = yaml.safe_load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = []
        for name in ("certificate", "key"):
            files.append(f"{kubeconfig}.{name}")
            if not os.path.exists(files[-1]) or os.path.getmtime(files[-1]) < os.path.getmtime(kubeconfig):
                with open(files[-1] + ".new", "wb") as file:
                    file.write(base64.b64decode(user[f"client-{name}-data"]))
                os.replace(files[-1] + ".new", files[-1])
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        context.load_cert_chain(*files)
        self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
        self.connection.connect()
        self.connection.auto_open = 0  # a second one would be made in silence

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and parsed answer."""
        try:
            self.connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": kind})
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(str(error)) from None

    def close(self):
        self.connection.close()
