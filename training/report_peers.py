"""Run other routers in processes of their own and collect their answers; see `peers.py` for the routers."""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pointsman.classifier.errors import ClassifierError

from . import peers
from .config import EncoderConfig
from .contenders import Contender, Skipped
from .datasets import Example
from .encoder_source import encoder_folder
from .peers import PEERS, UNREACHABLE, Peer

_SCRIPT: Final = Path(peers.__file__)


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Where and how long routers run.

    `python` is an interpreter that has them installed; they are no dependency of this project.
    """

    python: Path = Path(sys.executable)
    timeout_s: float = 900.0


def run_peers(
    examples: Sequence[Example], lessons: Sequence[Example], settings: PeerSettings
) -> tuple[list[Contender], list[Skipped]]:
    """Ask every installed router about the prompts, and list the ones that were not asked with the reason.

    Parameters
    ----------
    examples : sequence of Example
        What is measured; routers see the prompts only.
    lessons : sequence of Example
        Training rows, for the routers that learn from examples; without any, those are skipped. Rows of measured groups
        are left out.
    settings : PeerSettings
        Where they are installed and how long each may take.
    """
    installed = installed_peers(settings)
    measured = {example.group for example in examples}
    lessons = [lesson for lesson in lessons if lesson.group not in measured]
    random.Random(0).shuffle(lessons)  # noqa: S311 - files are sorted by group, and a router may take the first rows only
    contenders: list[Contender] = []
    skipped: list[Skipped] = []
    for peer in PEERS:
        result = _outcome(peer, installed.get(peer.name), (examples, lessons), settings)
        (contenders if isinstance(result, Contender) else skipped).append(result)  # type: ignore[arg-type]
    return contenders, [*skipped, *(Skipped(name, f"cannot run here: {why}") for name, why in UNREACHABLE.items())]


def _outcome(
    peer: Peer, version: str | None, data: tuple[Sequence[Example], Sequence[Example]], settings: PeerSettings
) -> Contender | Skipped:
    examples, lessons = data
    if version is None:
        return Skipped(peer.name, f"not installed: pip install {peer.distribution}")
    if peer.needs_lessons and not lessons:
        return Skipped(peer.name, "learns from examples: give training rows with --train")
    request = {
        "prompts": [example.prompt for example in examples],
        "lessons": [_lesson(example) for example in lessons] if peer.needs_lessons else [],
    }
    try:
        result = run_script(["run", peer.name], json.dumps(request), settings)
    except ClassifierError as error:
        return Skipped(peer.name, f"{peer.distribution} {version} failed: {error}")
    answers = result["answers"]
    categories = [answer["category"] for answer in answers]
    return Contender(
        name=f"{peer.name} {version}",
        kind="peer",
        note=peer.runs,
        score=np.array([answer["score"] for answer in answers], dtype=np.float64),
        careful=np.array([answer["careful"] for answer in answers], dtype=np.bool_),
        categories=None if None in categories else categories,
        ms_per_call=float(result["ms_per_call"]),
    )


def _lesson(example: Example) -> dict[str, Any]:
    return {"prompt": example.prompt, "category": example.labels["category"], "needs_care": example.needs_care}


def installed_peers(settings: PeerSettings) -> dict[str, str | None]:
    """Return the version per router; None where it is not installed."""
    return dict(run_script(["list"], "", settings))


def run_script(arguments: list[str], stdin: str, settings: PeerSettings) -> dict[str, Any]:
    """Run `peers.py` in an empty folder that is its home too: routers write caches and look at the folder they are in.

    Nothing is fetched: a router that needs an encoder finds it in the Hugging Face cache or does without. Where
    `HF_HOME` names none, a cache is made of the encoder that we start from, which is the one that routers ask for.

    Raises
    ------
    ClassifierError
        It failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "HOME": folder,
            "HF_HOME": os.environ.get("HF_HOME") or _encoder_cache(Path(folder)),
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONWARNINGS": "ignore",
            # One prompt at a time leaves nothing to share out, and times stay comparable.
            "OMP_NUM_THREADS": "1",
        }
        try:
            done = subprocess.run(  # noqa: S603 - our own script in the interpreter the user named
                [str(settings.python), str(_SCRIPT), *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                cwd=folder,
                env=environment,
                timeout=settings.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = f"no answer within {settings.timeout_s:.0f} s"
            raise ClassifierError(msg) from error
        except OSError as error:
            msg = f"{settings.python}: {error.strerror}; expected a Python interpreter. Check --peers-python."
            raise ClassifierError(msg) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        msg = f"exit status {done.returncode}, {last[:200]}"
        raise ClassifierError(msg)
    return dict(json.loads(done.stdout))


def _encoder_cache(folder: Path) -> str:
    """Return a Hugging Face cache: one with the installed encoder, or the user's own where none is installed."""
    encoder = EncoderConfig()
    try:
        weights = encoder_folder(encoder)
    except ClassifierError:
        return str(Path.home() / ".cache" / "huggingface")
    repository = folder / "hub" / f"models--{encoder.name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("installed")
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / "installed").symlink_to(weights, target_is_directory=True)
    return str(folder)
