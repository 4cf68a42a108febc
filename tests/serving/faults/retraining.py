"""Retrainings in processes of their own, and their promotion; bundles that must be refused."""

import random
import shutil
import subprocess
import sys

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.bundle import DEFAULT_BUNDLE

from ..bundles import damage, promoted, variant
from ..processes import ROOT

POINTSMAN = [sys.executable, "-c", "import sys; from pointsman.classifier.commands import main; sys.exit(main())"]
N_ROWS = 300


class Champions:
    """The alias folder of one service: what is promoted there, and what happens to it."""

    def __init__(self, folder, service_of):
        self.path, self._folder, self._service_of = folder / "aliases", folder, service_of
        promoted(self.path, DEFAULT_BUNDLE)
        files = sorted((ROOT / "data" / "turns").glob("*.jsonl"))
        self._rows = [row for file in files for row in file.read_text(encoding="utf-8").splitlines()]
        self._retraining = None
        self.n_promoted = self.n_refused = self.n_damaged = 0

    @property
    def _service(self):
        return self._service_of()

    def retrain(self):
        """Begin to fit new heads on other rows than before; at a low priority, as a nightly job runs."""
        number = self.n_promoted
        rows = self._folder / "rows.jsonl"
        rows.write_text("\n".join(random.Random(number).sample(self._rows, N_ROWS)) + "\n", encoding="utf-8")
        command = [*POINTSMAN, "retrain", "--heads", "--no-track", "--threads", "1", "--version", f"soak-{number}"]
        command += ["--data", rows, "--gold", ROOT / "data" / "stakes.jsonl", "--champion", DEFAULT_BUNDLE]
        command += ["--work", self._folder / "work", "--aliases", self._folder / "training"]
        with open(self._folder / "retrain.log", "ab") as log:
            self._retraining = subprocess.Popen(["nice", "-n", "19", *command], stdout=log, stderr=log)

    def is_retraining(self):
        return self._retraining is not None and self._retraining.poll() is None

    def take_up(self):
        """Promote what was trained, whatever the verdict on so few rows, and wait until it serves."""
        if self._retraining is None:
            return
        # 3: trained, and found worse than the champion.
        assert self._retraining.wait() in {0, 3}, (self._folder / "retrain.log").read_text()[-2000:]
        self._retraining = None
        found = max((self._folder / "work" / "runs").iterdir(), key=lambda path: path.stat().st_mtime) / "bundle"
        command = [*POINTSMAN, "promote", "--bundle", found, "--force", "soak", "--no-track", "--aliases", self.path]
        subprocess.run(command, check=True, capture_output=True)
        self._until_served()
        self.n_promoted += 1

    def offer_damaged(self):
        """Name a bundle with one wrong byte; it is refused, and the one before it named again."""
        self.n_damaged += 1
        scratch = self._folder / "damaged"
        bundle = variant(DEFAULT_BUNDLE, scratch, f"damaged-{self.n_damaged}")
        folder = AliasFolder(self.path)
        pointer = folder.add(bundle)
        damage(folder.bundle(pointer))
        folder.promote(pointer, reason="soak")
        self._service.until(lambda: self._service.metric("pointsman_bundle_refused") == 1, 180)
        self.n_refused += 1
        folder.roll_back(reason="soak")
        self._service.until(lambda: self._service.metric("pointsman_bundle_refused") == 0, 180)
        shutil.rmtree(scratch)

    def damage_the_served(self):
        """Change the files of the bundle that serves, in place, and put them back."""
        folder = AliasFolder(self.path)
        served = folder.bundle(folder.champion().pointer) / "model.onnx"
        whole = served.read_bytes()
        served.write_bytes(whole[: len(whole) // 2])
        self._service.until(lambda: self._service.metric("pointsman_bundle_intact") == 0, 180)
        served.write_bytes(whole)
        self._service.until(lambda: self._service.metric("pointsman_bundle_intact") == 1, 180)

    def _until_served(self):
        digest = AliasFolder(self.path).champion().pointer.digest
        self._service.until(lambda: self._service.http.get("/info").json()["bundle_digest"] == digest, 300)
