"""Secrets, e-mail addresses and the names of people's machines are taken out before anything is written.

Detection of provider tokens is detect-secrets' (Yelp, Apache-2.0): about two dozen maintained detectors, pure Python,
no network when asked for strings only. Presidio and scrubadub were left: they find people in prose with language
models of hundreds of megabytes and know no API keys. What detect-secrets does not look for is added here: whole
private keys, keys of model providers, credentials in prose, unquoted random strings, e-mail addresses, home folders.

Masking errs towards too much: a commit id or a checksum in a prompt is lost, too. It cannot promise that nothing is
left, since a password may be any word.
"""

import getpass
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

SECRET: Final = "<secret>"  # noqa: S105 - what stands in place of one
EMAIL: Final = "<email>"
USER: Final = "<user>"

# Long lines go to the detectors in pieces: some of their patterns take quadratic time (0.1 s on 100,000 characters).
_PIECE_CHARS: Final = 2_000
# Entropy is judged below, quoted or not. The keyword detector takes every argument named `token` for a secret, and
# three quarters of the time; what it is for is below, too.
_DETECTORS_LEFT_OUT: Final = frozenset(
    {"IPPublicDetector", "HexHighEntropyString", "Base64HighEntropyString", "KeywordDetector"}
)

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*(?:PRIVATE KEY|CERTIFICATE|MESSAGE)(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)",
    re.DOTALL,
)
_PROVIDER_KEY: Final = re.compile(
    r"\b(?:sk-[\w-]{16,}|pk-[\w-]{16,}|(?:sk|pk|rk)_(?:live|test)_\w{8,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}"
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{16,}|xai-\w{20,}|gsk_\w{20,}|r8_\w{20,}"
    r"|xox[a-z]-[\w-]{8,}|npm_\w{20,}|pypi-[\w-]{20,}|dop_v1_\w{20,}|lin_api_\w{20,}|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?)"
)
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@:]{0,100}:[^\s/@]{1,300}(?=@)")
_BEARER: Final = re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]{8,}|(?<=\bbasic )[A-Za-z0-9+/]{12,}={0,2}")
_NAMED: Final = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|client[_-]?secret|credentials?|auth[_-]?key|passwort|contraseña|mot de passe|senha|пароль|密码|密碼"
    r"|パスワード|비밀번호"
)
# "password: x", "the password is x", MY_TOKEN=x; the value is kept when it is plainly code or a word of prose.
_NAMED_SECRET: Final = re.compile(
    rf"(?i)((?:{_NAMED})\w*[\"'`]?\s*(?::=|=>|=|:|：|is\b|ist\b|是|は)\s*[\"'`]?)([^\s\"'`,;<>()\[\]]{{4,}}+)(?![(\[])"
)
# What an environment variable is set to, and a quoted literal, are never code.
_ASSIGNED: Final = re.compile(rf"(\b[A-Z0-9_]{{0,60}}(?:{_NAMED.upper()})[A-Z0-9_]{{0,60}}=)([^\s\"'`,;<>()]{{4,}})")
_QUOTED: Final = re.compile(
    rf"(?i)((?:{_NAMED})\w{{0,60}}[\"'`]?\s{{0,8}}[:=]\s{{0,8}}([\"'`]))[^\s\"'`<>]{{4,}}(?=\2)"
)
_CODE_VALUE: Final = re.compile(
    r"[\w.]*[(\[{$]|[\w]+(?:\.[A-Za-z_]\w*)+$|(?:[a-z]+|[A-Z]+|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*)$"
)
_EMAIL: Final = re.compile(
    r"[\w.%+-]{1,64}@[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.[A-Za-z]{2,24}\b"
)
_HOME: Final = re.compile(
    r"(?i)(?<![\w.])((?:/home/|/Users/|[A-Za-z]:[\\/]{1,4}Users[\\/]{1,4}|/mnt/[a-z]/Users/))([^\s/\\\"'`<>:;,)]+)"
)
# Claude Code names a project's folder after its path.
_DASHED_HOME: Final = re.compile(r"(?<!\w)(-(?:home|Users)-)([A-Za-z0-9_.]+)")
_RANDOM: Final = re.compile(r"(?<![\w/+.-])[A-Za-z0-9+/_=-]{20,}(?![\w/+])")
_HEX: Final = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{32,}(?![0-9a-z])")
_LONG_WORD: Final = re.compile(r"[^\s]{12,}")
_WORTH_SCANNING: Final = re.compile(rf"(?i){_NAMED}|auth|key|://|\d")

#: Names that say nothing of a person.
_COMMON_NAMES: Final = frozenset(
    {"root", "user", "users", "ubuntu", "debian", "admin", "administrator", "home", "vscode", "node", "runner"}
    | {"codespace", "dev", "app", "git", "test", "shared", "public", "default", "guest", "me", "work", "data", "src"}
    | {"ec2-user", "jovyan", "docker", "www", "www-data", "deploy", "build", "ci", "name", "username", "you"}
)
_MIN_NAME_CHARS: Final = 3
# Below this many bits per character a long string is made of words (measured on 200,000 identifiers of CPython's
# library: 0.5 % of those with 20 or more characters lie above 4.0; random base64 of 32 characters lies near 4.6).
_MIN_ENTROPY: Final = 4.0


class Masker:
    """Replaces secrets and names; the same text is masked the same way each time, and masking twice changes nothing."""

    def __init__(self) -> None:
        self._detectors = _detectors()
        self._names: set[str] = set()
        self._name_pattern: re.Pattern[str] | None = None
        with suppress(KeyError, OSError, ImportError):
            self._learn(getpass.getuser())

    def learn_path(self, path: object) -> None:
        """Learn the person's name from a folder that the log was written in."""
        if isinstance(path, str):
            for pattern in (_HOME, _DASHED_HOME):
                for found in pattern.finditer(path):
                    self._learn(found[2])

    def clean(self, text: str) -> str:
        """Return the text without secrets, addresses and names."""
        text = _PRIVATE_KEY.sub(SECRET, text)
        text = _URL_CREDENTIALS.sub(SECRET, text)
        text = _BEARER.sub(SECRET, text)
        text = _PROVIDER_KEY.sub(SECRET, text)
        text = _EMAIL.sub(EMAIL, text)
        text = _ASSIGNED.sub(rf"\1{SECRET}", text)
        text = _QUOTED.sub(rf"\1{SECRET}", text)
        text = _NAMED_SECRET.sub(_mask_named, text)
        for value in sorted(set(self._detected(text)), key=len, reverse=True):
            text = text.replace(value, SECRET)
        text = _HEX.sub(SECRET, text)
        text = _RANDOM.sub(_mask_random, text)
        return self._clean_names(text)

    def _clean_names(self, text: str) -> str:
        for pattern in (_HOME, _DASHED_HOME):
            text = pattern.sub(_mask_home, text)
        return text if self._name_pattern is None else self._name_pattern.sub(USER, text)

    def _learn(self, name: str) -> None:
        if len(name) < _MIN_NAME_CHARS or name.lower() in _COMMON_NAMES or name in self._names or "<" in name:
            return
        self._names.add(name)
        longest_first = sorted(self._names, key=lambda known: (-len(known), known))
        self._name_pattern = re.compile(rf"(?i)(?<![\w<])(?:{'|'.join(map(re.escape, longest_first))})(?![\w>])")

    def _detected(self, text: str) -> Iterator[str]:
        for line in text.splitlines():
            if not (_LONG_WORD.search(line) and _WORTH_SCANNING.search(line)):
                continue
            for piece in _pieces(line):
                for detector in self._detectors:
                    for value in detector.analyze_string(piece):
                        if value and _is_secret_like(value):
                            yield value


def _detectors() -> list[Any]:
    # Imported here: it brings an HTTP client along, which nothing else of this package needs.
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    classes: Iterable[Any] = get_mapping_from_secret_type_to_class().values()
    return [found() for found in sorted(classes, key=lambda c: c.__name__) if found.__name__ not in _DETECTORS_LEFT_OUT]


def _pieces(line: str) -> Iterator[str]:
    """Cut a long line at white space where there is some."""
    position = 0
    while len(line) - position > _PIECE_CHARS:
        cut = line.rfind(" ", position, position + _PIECE_CHARS)
        cut = cut if cut > position else position + _PIECE_CHARS
        yield line[position:cut]
        position = cut
    yield line[position:]


def _is_secret_like(value: str) -> bool:
    """Refuse what a keyword detector takes for a value but is code, a word or a mask."""
    return len(value) >= 6 and "<" not in value and not _CODE_VALUE.match(value)


def _mask_named(found: re.Match[str]) -> str:
    value = found[2]
    return found[0] if _CODE_VALUE.match(value) else f"{found[1]}{SECRET}"


def _mask_home(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in _COMMON_NAMES else f"{found[1]}{USER}"


def _mask_random(found: re.Match[str]) -> str:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

    value = found[0]
    mixes = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    # A path or a name in words has separators; what lies between them is short.
    longest = max(map(len, re.split(r"[/_=+-]", value)))
    if not mixes or longest < 16:
        return value
    entropy = Base64HighEntropyString(limit=0).calculate_shannon_entropy(value)
    return SECRET if entropy >= _MIN_ENTROPY else value
