"""Fit the encoder on all four heads at once. `pretrain.py` has the loop on commits before it.

The linear heads trained here only shape the embedding; the heads that ship are fitted on it afterwards
(`heads.py`), which lets a nightly refit skip this stage.
"""

import ctypes
import logging
import math
import os
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer

from .config import FinetuneConfig
from .datasets import Example
from .noise import disturb, without_answers

Row = TypeVar("Row")

#: Parameters of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
#: Batches are padded to a multiple of so many tokens.
PAD_TO: Final = 16
#: Steps whose mean loss is one point of the curve.
STEPS_PER_POINT: Final = 20


class EmbeddingEncoder(nn.Module):
    """A BERT-style encoder whose embedding is [CLS] beside the mean over the prompt's tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @classmethod
    def load(cls, folder: Path, *, n_layers: int | None = None) -> "EmbeddingEncoder":
        """Read weights; of the first `n_layers` alone, where that is not None.

        Raises
        ------
        InputError
            There are not so many layers.
        """
        settings = AutoConfig.from_pretrained(folder)
        if n_layers is not None:
            if not 1 <= n_layers <= settings.num_hidden_layers:
                msg = (
                    f"{n_layers} layers are asked for, the encoder has {settings.num_hidden_layers}; expected a number "
                    f"from 1 to {settings.num_hidden_layers}."
                )
                raise InputError(msg)
            settings.num_hidden_layers = n_layers
        # transformers reports every weight that is left out on purpose as unexpected.
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity(logging.ERROR)
        try:
            # Eager attention: exports and quantises to the same graph on every torch.
            encoder = AutoModel.from_pretrained(
                folder, config=settings, attn_implementation="eager", add_pooling_layer=False
            )
        finally:
            transformers_logging.set_verbosity(verbosity)
        return cls(encoder)

    def save(self, folder: Path) -> None:
        """Write weights and configuration, as `load` reads them."""
        self.encoder.save_pretrained(folder)  # type: ignore[operator]

    @property
    def n_dimensions(self) -> int:
        return 2 * int(self.encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        return self.read(input_ids, attention_mask, token_type_ids, layer=-1)[0]

    def read(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor, *, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (n_texts, 2 * n_hidden) and the mean state of the prompt after `layer` (.., n_hidden).

        Fine-tuning bends the last layers towards the labels; a layer in the middle still tells one subject matter
        from another, which is what novelty is read from.
        """
        layers = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            output_hidden_states=True,
        ).hidden_states  # n_layers + 1 of (n_texts, n_tokens, n_hidden)
        of_prompt = (attention_mask * (1 - token_type_ids)).unsqueeze(-1).to(layers[-1].dtype)
        n_prompt = of_prompt.sum(1).clamp(min=1.0)
        mean, surface = ((layers[i] * of_prompt).sum(1) / n_prompt for i in (-1, layer))
        return torch.cat([layers[-1][:, 0], mean], dim=-1), surface

    @property
    def n_layers(self) -> int:
        return int(self.encoder.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch on its way through the loop."""

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    labels: dict[Head, torch.Tensor]
    weights: torch.Tensor
    #: Unit embeddings of the teacher, (n_texts, n_dimensions).
    taught: torch.Tensor | None


def finetune(
    encoder: EmbeddingEncoder,
    examples: Sequence[Example],
    tokenizer: TextTokenizer,
    config: FinetuneConfig,
    *,
    taught: Mapping[str, npt.NDArray[np.float32]] | None = None,
    on_progress: Callable[[int, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> EmbeddingEncoder:
    """Fine-tune `encoder` in place on labelled turns and return it.

    `taught` holds, by row id, the unit embedding that a teacher gives to a turn; the encoder then learns to give it,
    too, whatever clothes the prompt comes in.

    Class weights are the inverse square root of class frequency: rare classes count more without drowning
    the rest. A row counts by its reader's certainty. `on_progress` gets the step and the mean loss since the last call.
    After each epoch everything that the next one needs is written to `checkpoint`; a run that finds the file goes on
    from it, and gives the very numbers of one that was never cut off.
    """
    seed_everything(config.seed, n_threads=config.n_threads)
    keep_freed_memory()
    heads = nn.ModuleDict({head: nn.Linear(encoder.n_dimensions, len(labels)) for head, labels in HEADS.items()})
    losses = _losses(examples, config)
    optimiser = _optimiser(encoder, heads, config)
    n_steps = config.epochs * math.ceil(len(examples) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, linear_with_warmup(n_steps, config.warmup_share))
    shuffler = random.Random(config.seed)  # noqa: S311  seeded on purpose
    recent: list[float] = []
    step = 0
    parts = {"encoder": encoder, "heads": heads, "optimiser": optimiser, "schedule": schedule}
    n_done = 0 if checkpoint is None else _resume(checkpoint, parts)
    for epoch in range(config.epochs):
        encoder.train()
        batches = _batches(_disturbed(examples, config, epoch), tokenizer, config.batch_size, shuffler, taught)
        if epoch < n_done:
            step += len(batches)
            continue
        for batch in tqdm(batches, desc=f"epoch {epoch + 1}/{config.epochs}", unit="batch", mininterval=5):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                embedding = encoder(*batch.inputs)
                logits = {head: layer(embedding) for head, layer in heads.items()}
            loss = sum(
                ((losses[head](logits[head].float(), batch.labels[head]) * batch.weights).mean() for head in HEADS),
                start=torch.zeros(()),
            )
            if batch.taught is not None:
                distance = 1 - nn.functional.cosine_similarity(embedding.float(), batch.taught)
                loss = config.label_weight * loss + config.teacher_weight * distance.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), config.max_gradient_norm)
            optimiser.step()
            schedule.step()
            recent.append(float(loss.detach()))
            step += 1
            if on_progress is not None and (len(recent) == STEPS_PER_POINT or step == n_steps):
                on_progress(step, {"loss": sum(recent) / len(recent), "epoch": step / n_steps * config.epochs})
                recent.clear()
        if checkpoint is not None:
            _save(checkpoint, parts, n_done=epoch + 1)
    return encoder.eval()


def _save(path: Path, parts: Mapping[str, Any], *, n_done: int) -> None:
    """Write a checkpoint whole or not at all; dropout draws from torch's generator, so its state is part of it."""
    states = {name: part.state_dict() for name, part in parts.items()}
    partial = path.with_name(f"{path.name}.partial")
    torch.save({"n_done": n_done, "states": states, "generator": torch.get_rng_state()}, partial)
    os.replace(partial, path)


def _resume(path: Path, parts: Mapping[str, Any]) -> int:
    """Take up a checkpoint and return how many epochs it has behind it; 0 when there is none."""
    if not path.is_file():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved["states"][name])
    torch.set_rng_state(saved["generator"])
    return int(saved["n_done"])


def seed_everything(seed: int, *, n_threads: int) -> None:
    """Fix seeds and threads, so that a run gives the same metrics again."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(n_threads)
    torch.use_deterministic_algorithms(mode=True)


def keep_freed_memory() -> None:
    """Let glibc keep freed tensors instead of giving them back and faulting them in anew (LOG.md); else do nothing."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def inputs_of(tokenizer: TextTokenizer, texts: Sequence[Text]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokenise a batch and pad it to a multiple of 16 tokens.

    oneDNN compiles its kernels anew for each shape it has not seen; few shapes are compiled once and kept.
    """
    tokens = tokenizer.encode(texts)
    n_more = -tokens.input_ids.shape[1] % PAD_TO
    ids, mask, segments = (
        nn.functional.pad(torch.from_numpy(array), (0, n_more))
        for array in (tokens.input_ids, tokens.attention_mask, tokens.token_type_ids)
    )
    return ids, mask, segments


def _disturbed(examples: Sequence[Example], config: FinetuneConfig, epoch: int) -> list[Example]:
    """Put a share of the prompts into other clothes and take the answers out of some contexts, others in each epoch."""
    chance = random.Random(f"{config.seed}/{epoch}")  # noqa: S311  seeded on purpose
    disturbed = []
    for example in examples:
        prompt, context = example.prompt, example.context
        if chance.random() < config.noise_share:
            prompt = disturb(chance, prompt)
        if chance.random() < config.silence_share:
            context = without_answers(context)
        disturbed.append(replace(example, prompt=prompt, context=context))
    return disturbed


def _batches(
    examples: Sequence[Example],
    tokenizer: TextTokenizer,
    size: int,
    shuffler: random.Random,
    taught: Mapping[str, npt.NDArray[np.float32]] | None,
) -> list[Batch]:
    n_tokens = [tokenizer.encode([example.text]).input_ids.size for example in examples]
    chunks = shuffled_chunks(range(len(examples)), size, shuffler, n_pooled=16, length=n_tokens.__getitem__)
    return [_batch([examples[i] for i in chunk], tokenizer, taught) for chunk in chunks]


def shuffled_chunks(
    rows: Sequence[Row], size: int, shuffler: random.Random, *, n_pooled: int, length: Callable[[Row], int]
) -> list[list[Row]]:
    """Shuffle, then sort within pools of `n_pooled` batches, so that a batch holds texts of like length."""
    order = list(rows)
    shuffler.shuffle(order)
    pools = [order[start : start + n_pooled * size] for start in range(0, len(order), n_pooled * size)]
    chunks = [
        ranked[start : start + size]
        for ranked in (sorted(pool, key=length) for pool in pools)
        for start in range(0, len(ranked), size)
    ]
    shuffler.shuffle(chunks)
    return chunks


def _batch(
    examples: Sequence[Example], tokenizer: TextTokenizer, taught: Mapping[str, npt.NDArray[np.float32]] | None
) -> Batch:
    return Batch(
        inputs=inputs_of(tokenizer, [example.text for example in examples]),
        labels={
            head: torch.tensor([labels.index(example.labels[head]) for example in examples])
            for head, labels in HEADS.items()
        },
        weights=torch.tensor([example.certainty for example in examples]),
        taught=None if taught is None else torch.from_numpy(np.stack([taught[example.id] for example in examples])),
    )


def _losses(examples: Sequence[Example], config: FinetuneConfig) -> dict[Head, nn.CrossEntropyLoss]:
    losses: dict[Head, nn.CrossEntropyLoss] = {}
    for head, labels in HEADS.items():
        counts = np.array([sum(example.labels[head] == label for example in examples) for label in labels])
        losses[head] = nn.CrossEntropyLoss(
            weight=label_weights(counts), label_smoothing=config.label_smoothing, reduction="none"
        )
    return losses


def label_weights(counts: npt.NDArray[np.int64]) -> torch.Tensor:
    """Weigh labels by the inverse square root of how often they occur; 1 on average over the rows."""
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    weights *= counts.sum() / (weights * counts).sum()
    return torch.tensor(weights, dtype=torch.float32)


def _optimiser(encoder: nn.Module, heads: nn.Module, config: FinetuneConfig) -> torch.optim.Optimizer:
    def group(parameters: list[Any], rate: float, decay: float) -> dict[str, Any]:
        return {"params": parameters, "lr": rate, "weight_decay": decay}

    plain = [p for n, p in encoder.named_parameters() if p.ndim >= 2]
    bare = [p for n, p in encoder.named_parameters() if p.ndim < 2]
    rate = config.learning_rate
    return torch.optim.AdamW(
        [
            group(plain, rate, config.weight_decay),
            group(bare, rate, 0.0),
            group(list(heads.parameters()), rate * config.head_factor, config.weight_decay),
        ]
    )


def linear_with_warmup(n_steps: int, warmup_share: float) -> Callable[[int], float]:
    """Return the factor of the learning rate by step: up during the warm-up, then down to nothing."""
    n_warmup = max(1, int(n_steps * warmup_share))

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return max(0.0, (n_steps - step) / max(1, n_steps - n_warmup))

    return factor
