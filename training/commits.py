"""Commits of git repositories as rows: what a message says, and what the commit was about.

Reads with `git log`, from repositories with or without a work tree. What machines write is left out (bots, version
bumps, merges, releases), and so is of a message what tells nothing of the change (numbers of pull requests, links,
trailers, code) or tells the label (the conventional-commit prefix). Rows are other people's words: they stay in memory.
"""

import logging
import os
import random
import re
import shutil
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Final

from pointsman.classifier.errors import InputError

from .config import CommitsConfig

logger = logging.getLogger(__name__)

#: Words before the colon of a conventional commit, by the type that they stand for.
_TYPE_OF: Final = {
    word: type_
    for type_, words in {
        "feat": "feat feature",
        "fix": "fix bugfix hotfix",
        "docs": "docs doc i18n",
        "test": "test tests",
        "refactor": "refactor ref cleanup clean",
        "perf": "perf",
        "build": "build dx",
        "ci": "ci infra devops",
        "style": "style ux ui",
        "chore": "chore",
        "revert": "revert",
        "security": "security sec",
        "types": "types",
        "deps": "deps",
    }.items()
    for word in words.split()
}
#: Commits of this type move versions of dependencies; they are left out.
_DEPENDENCIES: Final = "deps"
TYPES: Final = tuple(sorted(set(_TYPE_OF.values()) - {_DEPENDENCIES}))

#: How many files were touched, tests aside where there are others: 1, 2 to 3, 4 to 8, more.
FILE_COUNTS: Final = ("1", "2-3", "4-8", "9+")
_MOST_FILES: Final = (1, 3, 8)

_TEST: Final = re.compile(
    r"(^|/)(tests?|__tests__|spec|specs|e2e|cypress)/|[._-](test|spec)s?\.|_test\.|(^|/)test_", re.IGNORECASE
)
_DOCS: Final = re.compile(r"\.(md|mdx|rst|adoc)$|(^|/)docs?/", re.IGNORECASE)
#: Kinds of paths; tests do not count for these, unless there is nothing else.
_SOURCES: Final = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        "migration": r"migrat|\.sql$|schema\.prisma|alembic",
        "auth": r"auth|login|session|token|crypto|secret|permission|rbac|oauth|saml|sso|password|security|cors|csrf|"
        r"acl|tls|cert",
        "infra": r"(^|/)\.github/|dockerfile|docker-compose|\.tf$|helm|k8s|kubernetes|(^|/)\.?circleci|jenkins|"
        r"(^|/)deploy|makefile|\.gitlab-ci",
        "build": r"(^|/)(package|tsconfig|cargo|go|pyproject|setup|build|webpack|vite\.config|rollup|nx|turbo)[\w.-]*"
        r"\.(json|toml|mod|cfg|gradle|js|ts|mjs)$",
        "ui": r"\.(tsx|vue|svelte|css|scss|less|html|svg|erb)$",
        "db": r"(^|/)(db|database|models?|entit(y|ies)|repositor(y|ies)|orm|query|sql)",
        "api": r"(^|/)(api|routes?|controllers?|handlers?|server|endpoints?)",
        "money": r"pay|billing|invoice|stripe|price|subscription|checkout|order",
        "data": r"\.(ipynb|parquet|csv)$|(^|/)(data|dataset|etl|pipeline|ml|train)",
        "config": r"\.(ya?ml|toml|ini|cfg|env[\w.]*)$",
    }.items()
}
KINDS: Final = tuple(sorted(("test", "docs", "only_test", "only_docs", *_SOURCES)))
#: Paths of one commit that are looked at for its kinds; more say nothing new.
_MOST_PATHS: Final = 60

_BOT: Final = re.compile(
    r"\[bot\]|renovate|dependabot|github-actions|\bbot\b|semantic-release|greenkeeper", re.IGNORECASE
)
_HEADING: Final = re.compile(r"^(\w+)(?:\(([^)]*)\))?!?:\s*(.+)$", re.DOTALL)
#: A longer word before a colon is no prefix but part of the sentence.
_LONGEST_PREFIX: Final = 11
_NUMBER: Final = re.compile(r"\s*\(?#\d+\)?")
_EMOJI: Final = re.compile(r"^:\w+:\s*")
_BY_ROTE: Final = re.compile(
    r"^(bump|update dependency|update module|lock file|release|prepare release|v?\d+\.\d+|merge|pin dependenc|"
    r"update .* digest|update all|version packages|publish)\b",
    re.IGNORECASE,
)
_SHORTEST_SUBJECT: Final = 12
_CODE: Final = re.compile(r"```.*?```", re.DOTALL)
_TRAILER: Final = re.compile(
    r"^(co-authored-by|signed-off-by|change-id|reviewed-by|refs?|closes?|fixes|resolves|see|cc|pr-url|acked-by|"
    r"changelog|issue)\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
_LINK: Final = re.compile(r"#\d+|https?://\S+")
_NO_PROSE: Final = ("<", "BREAKING", "Co-", "|", "##")
_SHORTEST_PARAGRAPH: Final = 31
_LONGEST_PARAGRAPH: Final = 400

#: What parts a log: a commit begins, its author ends, its message ends.
_COMMIT, _AUTHOR, _MESSAGE = "\x01", "\x02", "\x03"
_FORMAT: Final = "--format=%x01%an%x02%B%x03"
_BLOCK: Final = 1 << 20
#: A hook of git sets these, and git would then read another repository than the one that is named.
_ELSEWHERE: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, and the commit it is read at."""

    name: str
    folder: Path
    commit: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One row: what was written of a change, and what the change was. `files` is a place in `FILE_COUNTS`."""

    text: str
    type: str | None
    files: int
    kinds: frozenset[str]
    repository: str


def find_repositories(folders: Sequence[Path]) -> list[Repository]:
    """Return the repositories in these folders by name; a name is the part of a path that tells it from the others.

    Raises
    ------
    InputError
        A folder is no git repository or has no commit yet, or git is not installed.
    """
    resolved = list(dict.fromkeys(folder.resolve() for folder in folders))
    named = sorted(zip(_names(resolved), resolved, strict=True))
    return [Repository("/".join(name), folder, _head(folder)) for name, folder in named]


def _names(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    paths = [folder.parts for folder in folders]
    depth = next(n for n in count(1) if len({parts[-n:] for parts in paths}) == len(paths))
    names = [parts[-depth:] for parts in paths]
    # Mirrors often lie in owner/name/repo: what all names end in tells nothing.
    while len(names) > 1 and len({name[-1] for name in names}) == 1:
        names = [name[:-1] for name in names]
    return names


def _head(folder: Path) -> str:
    if not folder.is_dir():
        msg = f"{folder}: no such folder; expected a git repository. Check the path."
        raise InputError(msg)
    asked = _git(folder, "rev-parse", "--git-dir")
    if asked.returncode != 0:
        msg = f"{folder}: not a git repository ({_last_line(asked.stderr)}). Name the folder that `git clone` made."
        raise InputError(msg)
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.returncode != 0:
        msg = f"{folder}: no usable commits: its HEAD names none. Fetch its history, or leave it out."
        raise InputError(msg)
    return head.stdout.strip()


def read_commits(repositories: Sequence[Repository], config: CommitsConfig) -> list[Commit]:
    """Read the rows of repositories, in shuffled order, with no type and no repository beyond its cap.

    Raises
    ------
    InputError
        A log cannot be read, or none of a repository's commits is usable.
    """
    chance = random.Random(config.seed)  # noqa: S311  seeded on purpose
    rows: list[Commit] = []
    for repository in repositories:
        found = list(_rows(repository, config, chance))
        if not found:
            msg = (
                f"{repository.name}: no usable commits; expected some that people made, with a subject of "
                f"{_SHORTEST_SUBJECT} letters or more. Fetch its history, or leave it out."
            )
            raise InputError(msg)
        kept = _capped(found, config, chance)
        logger.info("%s: %d usable commits, %d kept", repository.name, len(found), len(kept))
        rows += kept
    chance.shuffle(rows)
    return rows


def _capped(commits: Sequence[Commit], config: CommitsConfig, chance: random.Random) -> list[Commit]:
    by_type: dict[str | None, list[Commit]] = {}
    for commit in commits:
        by_type.setdefault(commit.type, []).append(commit)
    untyped = by_type.pop(None, [])
    kept: list[Commit] = []
    for same in by_type.values():
        chance.shuffle(same)
        kept += same[: config.most_of_type]
    chance.shuffle(untyped)
    kept += untyped[: config.most_untyped]
    chance.shuffle(kept)
    return kept[: config.most_of_repository]


def _rows(repository: Repository, config: CommitsConfig, chance: random.Random) -> Iterator[Commit]:
    seen: set[str] = set()
    for author, message, files in _log(repository, config.most_read):
        if _BOT.search(author) or not files:
            continue
        heading, _, body = message.strip().partition("\n")
        type_, subject = _typed(heading)
        subject = _EMOJI.sub("", _NUMBER.sub("", subject).strip())
        told = subject.lower()
        if type_ == _DEPENDENCIES or _BY_ROTE.match(subject) or len(subject) < _SHORTEST_SUBJECT or told in seen:
            continue
        seen.add(told)
        paragraph = _first_paragraph(body)
        has_body = paragraph is not None and chance.random() < config.body_share
        text = f"{subject}\n\n{paragraph}" if has_body else subject
        yield Commit(text, type_, _file_count(files), frozenset(_kinds(files)), repository.name)


def _typed(heading: str) -> tuple[str | None, str]:
    """Part the first line of a message into its type and its subject; a prefix that names no type is dropped."""
    found = _HEADING.match(heading)
    if found is None:
        return None, heading
    word, part, subject = found.groups()
    type_ = _TYPE_OF.get(word.lower())
    if type_ is None:
        return None, subject if len(word) <= _LONGEST_PREFIX else heading
    return _DEPENDENCIES if "deps" in (part or "").lower() else type_, subject


def _first_paragraph(body: str) -> str | None:
    """Return the first paragraph of prose, if there is one."""
    body = _LINK.sub("", _TRAILER.sub("", _CODE.sub("", body)))
    for raw in re.split(r"\n\s*\n", body):
        paragraph = re.sub(r"\s+", " ", raw).strip()
        if len(paragraph) >= _SHORTEST_PARAGRAPH and not paragraph.startswith(_NO_PROSE):
            return paragraph[:_LONGEST_PARAGRAPH]
    return None


def _sources(files: Sequence[str]) -> Sequence[str]:
    return [file for file in files if not _TEST.search(file)] or files


def _file_count(files: Sequence[str]) -> int:
    return bisect_left(_MOST_FILES, len(_sources(files)))


def _kinds(files: Sequence[str]) -> Iterator[str]:
    looked_at = _sources(files)[:_MOST_PATHS]
    yield from (kind for kind, pattern in _SOURCES.items() if any(pattern.search(file) for file in looked_at))
    for kind, pattern in (("test", _TEST), ("docs", _DOCS)):
        hits = [pattern.search(file) is not None for file in files]
        if any(hits):
            yield kind
        if all(hits):
            yield f"only_{kind}"


def _log(repository: Repository, most: int) -> Iterator[tuple[str, str, list[str]]]:
    """Yield author, message and files of the newest commits that are no merges."""
    command = [*_command(repository.folder), "log", repository.commit, "--no-merges", "-n", str(most), "--name-only"]
    command += ["--no-renames", "--no-show-signature", "--encoding=UTF-8", _FORMAT]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told,
        subprocess.Popen(  # noqa: S603 - git, on a folder the user named
            command,
            stdout=subprocess.PIPE,
            stderr=told,
            encoding="utf-8",
            errors="replace",
            env=_environment(repository.folder),
        ) as process,
    ):
        if process.stdout is None:  # pragma: no cover - it was asked for
            return
        for commit in _commits_in(process.stdout):
            author, parted, rest = commit.partition(_AUTHOR)
            message, ended, files = rest.partition(_MESSAGE)
            # A message may hold such a sign itself.
            if parted and ended:
                yield author, message, [line for line in files.split("\n") if line.strip()]
        if process.wait() != 0:
            told.seek(0)
            msg = f"{repository.name}: git log failed ({_last_line(told.read())}). Repair or fetch it, or leave it out."
            raise InputError(msg)


def _commits_in(log: IO[str]) -> Iterator[str]:
    rest = ""
    while block := log.read(_BLOCK):
        *whole, rest = (rest + block).split(_COMMIT)
        yield from whole
    yield rest


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - git, on a folder the user named
        [*_command(folder), *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=_environment(folder),
        check=False,
    )


def _command(folder: Path) -> list[str]:
    git = shutil.which("git")
    if git is None:
        msg = "reading commits needs git, which was not found on PATH. Install it."
        raise InputError(msg)
    return [git, "-C", str(folder), "-c", "core.quotePath=false"]


def _environment(folder: Path) -> dict[str, str]:
    """Let git read this very folder, not a repository around it, and speak English."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return kept | {"GIT_CEILING_DIRECTORIES": str(folder.parent), "LC_ALL": "C.UTF-8"}


def _last_line(told: str) -> str:
    return (told.strip().splitlines() or ["no message"])[-1][:200]
