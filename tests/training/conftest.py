"""A tiny real encoder and a handful of labelled turns, so that the whole training story runs in seconds."""

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training tests need the training extra: pip install -e '.[training]'")

from .products import write_graph

WORDS = (
    "fix the bug in parser crash null add endpoint for orders rename helper write tests readme docs deploy cluster "
    "terraform login token password migrate table column users upgrade button colour layout yes continue still "
    "fails error thanks explain how does cache work review my diff scaffold new project"
)

ROWS = [
    ("fix the crash in the parser", "debugging", "medium", "file", "new"),
    ("add endpoint for orders", "feature", "medium", "multi", "new"),
    ("write tests for the parser", "tests", "low", "file", "new"),
    ("migrate the users table", "migration", "high", "multi", "new"),
    ("login token password bug", "security", "high", "multi", "new"),
    ("explain how the cache does work", "analysis", "low", "file", "new"),
    ("still fails error", "debugging", "medium", "file", "correct"),
    ("yes continue", "feature", "medium", "multi", "follow"),
    ("button colour layout", "ui", "low", "file", "new"),
    ("upgrade the cluster terraform", "infrastructure", "high", "repo", "new"),
]


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A two-layer BERT with random weights and a WordPiece vocabulary of its own."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789…:"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), *sorted(set(WORDS.split()))]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.enable_padding(length=128)  # as the published MiniLM tokenizer has it; must not matter
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def labelled_file(tmp_path_factory) -> Path:
    """Twelve groups of ten labelled turns."""
    path = tmp_path_factory.mktemp("data") / "turns.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for group in range(12):
            for number, (prompt, category, risk, scope, turn) in enumerate(ROWS):
                context = [] if turn == "new" else [{"role": "assistant", "text": "explain the parser bug"}]
                row = {"id": f"{group}-{number}", "group": f"g{group}", "context": context, "prompt": prompt}
                row |= {"category": category, "risk": risk, "scope": scope, "turn": turn}
                file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="session")
def make_repository():
    """A maker of git repositories, from commits (author, message, paths), oldest first."""

    def make(folder, commits, *, bare=False):
        parts = []
        for number, (author, message, paths) in enumerate(commits):
            said = message.encode()
            who = f"{author} <somebody@example.com> {1_700_000_000 + number} +0000"
            parts.append(f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(said)}\n".encode())
            parts.append(said + b"\n")
            content = str(number)
            parts += [f"M 100644 inline {path}\ndata {len(content)}\n{content}\n".encode() for path in paths]
        subprocess.run(["git", "init", "-q", "-b", "main", *(["--bare"] if bare else []), str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=b"".join(parts), check=True)
        return folder

    return make


@pytest.fixture
def product_graph(tmp_path):
    """An fp32 graph of one matrix product."""
    return write_graph(tmp_path / "graph.onnx")
