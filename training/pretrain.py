"""Pretrain the encoder on commits: from a message it learns the type, how many files were touched, and of which kinds.

Labelled turns are few, commits of public repositories are many, and what a change is about is told in both in much the
same words. The heads are thrown away; the encoder is what `pointsman train --encoder` begins with.
"""

import json
import logging
import math
import random
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from pointsman.classifier.bundle import TOKENIZER, sha256_of
from pointsman.classifier.errors import InputError
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer, TokenBudget

from .commits import FILE_COUNTS, KINDS, TYPES, Commit, Repository, find_repositories, read_commits
from .config import PretrainConfig
from .datasets import digest_of
from .encoder_source import PRETRAINING, WEIGHTS, encoder_folder
from .finetune import (
    EmbeddingEncoder,
    inputs_of,
    keep_freed_memory,
    label_weights,
    linear_with_warmup,
    seed_everything,
    shuffled_chunks,
)
from .fitting import extended_tokenizer

logger = logging.getLogger(__name__)

#: Few among commits; when rows are left out, these stay.
_RARE: Final = frozenset({"build", "ci", "perf", "refactor", "revert", "security", "style", "test", "types"})
#: What torch's cross entropy passes over.
_NO_TYPE: Final = -100
#: What makes a folder of weights one that others can load, too.
_TOKENIZER_FILES: Final = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

Logits = dict[str, torch.Tensor]
LossOf = Callable[[Logits, Sequence[Commit]], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Figures:
    """How often type and number of files of held-out commits were told right, and how often the commonest one is."""

    repositories: tuple[str, ...]
    n_commits: int
    files_accuracy: float
    files_commonest: float
    n_typed: int
    #: None where no held-out commit says its type.
    type_accuracy: float | None
    type_commonest: float | None


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What came out; no figures where nothing was held out."""

    folder: Path
    n_rows: int
    n_repositories: int
    figures: Figures | None


def pretrain(config: PretrainConfig) -> Pretrained:
    """Pretrain an encoder on the commits of repositories and write it to `config.output`.

    Raises
    ------
    InputError
        A repository, the encoder or the lexicon cannot be read, a number is none, or no row is left to learn from.
    """
    for name, number in (("rows", config.most_rows), ("epochs", config.epochs), ("threads", config.n_threads)):
        if number is not None and number < 1:
            msg = f"--{name} is {number}; expected 1 or more."
            raise InputError(msg)
    folder = encoder_folder(config.encoder)
    if config.output.resolve() == folder.resolve():
        msg = f"{config.output}: holds the weights to begin with; expected another folder. Name it with --output."
        raise InputError(msg)
    repositories = find_repositories(config.repositories)
    aside = _aside(config, repositories)
    rows = _in_order(read_commits(repositories, config.commits), config)
    learned = [row for row in rows if row.repository not in aside]
    held_out = [row for row in rows if row.repository in aside][: config.most_held_out]
    if not learned:
        msg = (
            f"no commit is left to learn from: of {len(repositories)} repositories {len(aside)} are held out, of their "
            f"commits {len(rows)} are kept. Hold out fewer with --held-out, or keep more with --rows."
        )
        raise InputError(msg)
    logger.info("learn from %d commits of %d repositories", len(learned), len(repositories) - len(aside))
    tokenizer = _tokenizer(folder, config)
    seed_everything(config.seed, n_threads=config.n_threads)
    keep_freed_memory()
    encoder = EmbeddingEncoder.load(folder)
    heads = fit(encoder, learned, tokenizer, config)
    figures = measure(encoder, heads, learned, held_out, tokenizer, config) if held_out else None
    _write(encoder, folder, config)
    _write_about(config, folder, repositories, (learned, held_out), figures)
    return Pretrained(config.output, len(learned), len(repositories) - len(aside), figures)


def _aside(config: PretrainConfig, repositories: Sequence[Repository]) -> frozenset[str]:
    """Return the names of the repositories that are measured on."""
    names = [repository.name for repository in repositories]
    unknown = sorted(set(config.held_out) - set(names))
    if unknown:
        msg = f"--held-out {', '.join(unknown)}: no repository of that name; expected some of: {', '.join(names)}."
        raise InputError(msg)
    return frozenset(config.held_out or names[1:][-1:])


def _in_order(rows: Sequence[Commit], config: PretrainConfig) -> list[Commit]:
    """Leave out what is too much, of the common types first, and shuffle the rest."""
    rare = [row for row in rows if row.type in _RARE]
    common = [row for row in rows if row.type not in _RARE]
    random.Random(config.rows_seed).shuffle(common)  # noqa: S311  seeded on purpose
    kept = [*rare, *common][: config.most_rows]
    random.Random(config.order_seed).shuffle(kept)  # noqa: S311  seeded on purpose
    return kept


def _tokenizer(folder: Path, config: PretrainConfig) -> TextTokenizer:
    tokens, glosses = extended_tokenizer(folder, config.lexicon)
    return TextTokenizer(tokens, TokenBudget(), glosses)


def fit(
    encoder: EmbeddingEncoder, rows: Sequence[Commit], tokenizer: TextTokenizer, config: PretrainConfig
) -> nn.ModuleDict:
    """Fit `encoder` in place, and return the heads that were fitted with it."""
    n_dimensions = encoder.n_dimensions
    heads = nn.ModuleDict(
        {
            "of_type": nn.Linear(n_dimensions, len(TYPES)),
            "of_files": nn.Linear(n_dimensions, len(FILE_COUNTS)),
            "of_kinds": nn.Linear(n_dimensions, len(KINDS)),
        }
    )
    loss_of = _loss_of(rows, config)
    rates = (
        {"params": list(encoder.parameters()), "lr": config.learning_rate},
        {"params": list(heads.parameters()), "lr": config.learning_rate * config.head_factor},
    )
    optimiser = torch.optim.AdamW(rates, weight_decay=config.weight_decay)
    n_steps = config.epochs * math.ceil(len(rows) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, linear_with_warmup(n_steps, config.warmup_share))
    shuffler = random.Random(config.batches_seed)  # noqa: S311  seeded on purpose
    encoder.train()
    for epoch in range(config.epochs):
        chunks = shuffled_chunks(rows, config.batch_size, shuffler, n_pooled=32, length=lambda row: len(row.text))
        bar = tqdm(chunks, desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", mininterval=5)
        for chunk in bar:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = _logits(encoder, heads, chunk, tokenizer, config)
            loss = loss_of(logits, chunk)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(encoder.parameters(), config.max_gradient_norm)
            optimiser.step()
            schedule.step()
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
    encoder.eval()
    return heads


def _logits(
    encoder: EmbeddingEncoder,
    heads: nn.ModuleDict,
    rows: Sequence[Commit],
    tokenizer: TextTokenizer,
    config: PretrainConfig,
) -> Logits:
    """Return the logits of each head, (n_rows, n_labels)."""
    embedding = encoder(*inputs_of(tokenizer, [Text(row.text[: config.most_characters], ()) for row in rows]))
    return {name: head(embedding) for name, head in heads.items()}


def _loss_of(rows: Sequence[Commit], config: PretrainConfig) -> LossOf:
    """Return the loss of a batch; a row without a type teaches files and kinds alone."""
    by_type = Counter(row.type for row in rows)
    counts = np.array([by_type[type_] for type_ in TYPES])
    of_type = nn.CrossEntropyLoss(
        weight=label_weights(counts) if counts.any() else None,
        label_smoothing=config.label_smoothing,
        ignore_index=_NO_TYPE,
    )
    of_files = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    of_kinds = nn.BCEWithLogitsLoss()

    def loss_of(logits: Logits, batch: Sequence[Commit]) -> torch.Tensor:
        kinds = torch.tensor([[float(kind in row.kinds) for kind in KINDS] for row in batch])  # (n_rows, n_kinds)
        loss: torch.Tensor = of_files(logits["of_files"].float(), _files(batch)) * config.files_weight
        loss = loss + of_kinds(logits["of_kinds"].float(), kinds) * config.kinds_weight
        types = _types(batch)
        # The mean over no row at all is NaN.
        return loss + of_type(logits["of_type"].float(), types) if bool((types != _NO_TYPE).any()) else loss

    return loss_of


def _types(rows: Sequence[Commit]) -> torch.Tensor:
    return torch.tensor([_NO_TYPE if row.type is None else TYPES.index(row.type) for row in rows])


def _files(rows: Sequence[Commit]) -> torch.Tensor:
    return torch.tensor([row.files for row in rows])


@torch.no_grad()
def measure(
    encoder: EmbeddingEncoder,
    heads: nn.ModuleDict,
    learned: Sequence[Commit],
    held_out: Sequence[Commit],
    tokenizer: TextTokenizer,
    config: PretrainConfig,
) -> Figures:
    """Measure on commits of repositories that nothing was learned from."""
    ranked = sorted(held_out, key=lambda row: len(row.text))
    files: list[bool] = []
    types: list[bool] = []
    for start in range(0, len(ranked), config.batch_size):
        chunk = ranked[start : start + config.batch_size]
        logits = _logits(encoder, heads, chunk, tokenizer, config)
        true_types = _types(chunk)
        files += (logits["of_files"].argmax(1) == _files(chunk)).tolist()
        types += (logits["of_type"].argmax(1) == true_types)[true_types != _NO_TYPE].tolist()
    return Figures(
        repositories=tuple(sorted({row.repository for row in held_out})),
        n_commits=len(files),
        files_accuracy=float(np.mean(files)),
        files_commonest=_commonest([row.files for row in learned], [row.files for row in held_out]),
        n_typed=len(types),
        type_accuracy=float(np.mean(types)) if types else None,
        type_commonest=_commonest([row.type for row in learned if row.type], [row.type for row in held_out if row.type])
        if types
        else None,
    )


def _commonest(learned: Sequence[Hashable], held_out: Sequence[Hashable]) -> float:
    """Return the accuracy of always saying what is commonest among what was learned from."""
    said = Counter(learned).most_common(1)
    return sum(value == said[0][0] for value in held_out) / len(held_out) if said else 0.0


def _write(encoder: EmbeddingEncoder, began_in: Path, config: PretrainConfig) -> None:
    """Write weights and tokenizer; the lexicon stays out, since `pointsman train` is given it as well."""
    config.output.mkdir(parents=True, exist_ok=True)
    encoder.save(config.output)
    for name in _TOKENIZER_FILES:
        if (began_in / name).is_file():
            shutil.copyfile(began_in / name, config.output / name)


def _write_about(
    config: PretrainConfig,
    began_in: Path,
    repositories: Sequence[Repository],
    rows: tuple[Sequence[Commit], Sequence[Commit]],
    figures: Figures | None,
) -> None:
    """Write where the weights come from, last of all: it vouches for them by digest."""
    learned, held_out = (Counter(row.repository for row in part) for part in rows)
    base = config.encoder
    about: dict[str, Any] = {
        "encoder": {
            "name": f"{base.name}, pretrained on commits",
            "licence": base.licence,
            "sha256": sha256_of(config.output / WEIGHTS),
        },
        "began_with": {"name": base.name, "licence": base.licence, "sha256": sha256_of(began_in / WEIGHTS)},
        "repositories": [
            {
                "name": repository.name,
                "commit": repository.commit,
                "rows": learned[repository.name],
                "held_out_rows": held_out[repository.name],
            }
            for repository in repositories
        ],
        "lexicon": {path.name: digest_of(path) for path in config.lexicon},
        "settings": config.to_json(),
        "figures": None if figures is None else asdict(figures),
    }
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    (config.output / PRETRAINING).write_text(text, encoding="utf-8")
