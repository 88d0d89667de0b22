"""An image whose layer is large and compressed with zstd."""
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.environ["LIMPET_SOURCE"], "packaging"))
import busybox_image  # noqa: E402

from case import Skip  # noqa: E402


class ZstdImage(busybox_image.Image):
    """busybox with a layer that is 50 MB in zstd."""

    def __init__(self, megabytes):
        if not shutil.which("zstd"):
            raise Skip("no zstd")
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            entry = tarfile.TarInfo("noise")
            # Of each two bytes one is noise: halves, as programs do.
            data = os.urandom(megabytes << 20).hex().encode()
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        super().__init__(above=[layer.getvalue()])
        self.layers[1] = subprocess.run(["zstd", "-3", "-q", "-c"], input=layer.getvalue(), check=True,
                                        stdout=subprocess.PIPE).stdout
        manifest = json.loads(self.manifest)
        manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
        manifest["layers"][1] = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                                 "digest": busybox_image.digest(self.layers[1]), "size": len(self.layers[1])}
        self.manifest = busybox_image.encode(manifest)
