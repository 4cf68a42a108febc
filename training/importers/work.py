"""What an agent's own tools tell of its work: how the last test run ended, what was committed, what was taken back."""

import re
from typing import Final

from .protocol import ImportedTurn

#: Test runners sum up at the end.
_TAIL_CHARS: Final = 4_000
_COMMAND_CHARS: Final = 4_000

_FAILED: Final = re.compile(
    r"^=+ .*\b\d+ (?:failed|errors?)\b.* in [\d.]+"  # pytest
    r"|^FAILED \((?:failures|errors)="  # unittest
    r"|^\s*Tests?:?\s+.*\b[1-9]\d* failed"  # jest, vitest
    r"|^test result: FAILED"  # cargo
    r"|^(?:--- )?FAIL\b"  # go, jest
    r"|^\s*[1-9]\d* failing\b"  # mocha
    r"|\bTests run: \d+, (?:Failures: [1-9]|Failures: 0, Errors: [1-9])"  # maven
    r"|\b\d+ examples?, [1-9]\d* failures?",  # rspec
    re.MULTILINE,
)
_PASSED: Final = re.compile(
    r"^=+ .*\b\d+ passed\b.* in [\d.]+|^\d+ passed(?:, .*)? in [\d.]+s"
    r"|^Ran \d+ tests? in [\d.]+s\s+OK\b"
    r"|^\s*Tests?:?\s+.*\b\d+ passed"
    r"|^test result: ok\b"
    r"|^ok\s+\S+\s+(?:[\d.]+s|\(cached\))"
    r"|^\s*\d+ passing\b"
    r"|\bTests run: \d+, Failures: 0, Errors: 0"
    r"|\b\d+ examples?, 0 failures",
    re.MULTILINE,
)
_COMMIT: Final = re.compile(r"\bgit\b(?: -[cC] \S+)* commit\b")
_REVERT: Final = re.compile(
    r"\bgit\b(?: -[cC] \S+)* (?:revert\b|restore\b|reset --hard\b|checkout (?:HEAD\S* )?--|checkout \.|stash drop\b)"
)


def note_command(turn: ImportedTurn, command: object) -> None:
    """Count commits and what takes work back; a command in a list is joined."""
    if isinstance(command, list):
        command = " ".join(str(part) for part in command)
    if isinstance(command, str):
        turn.n_commits += len(_COMMIT.findall(command[:_COMMAND_CHARS]))
        turn.n_reverts += len(_REVERT.findall(command[:_COMMAND_CHARS]))


def note_output(turn: ImportedTurn, output: object) -> None:
    """Take note of a test run's end; the turn's last one counts."""
    if not isinstance(output, str):
        return
    tail = output[-_TAIL_CHARS:]
    if _FAILED.search(tail):
        turn.tests = "failed"
    elif _PASSED.search(tail):
        turn.tests = "passed"
