"""Texts of a known number of tokens, made of words that are one token each; and bodies of agents."""

import json
import random
from pathlib import Path

from pointsman.classifier.assessment import Message, Turn
from pointsman.classifier.tokens import TokenBudget

_SENTENCE = "the payment handler drops events when two workers read the same row and both mark it done so fix this"
WORDS = tuple(_SENTENCE.split(" "))
REQUESTS = Path(__file__).parents[1] / "data" / "requests"

MB = 1_000_000

#: [CLS] prompt [SEP], and for what does not fit there: "user : ..." up to four times, [SEP].
_BUDGET = TokenBudget()
LONGEST = _BUDGET.longest


def words(n, first=0):
    return " ".join(WORDS[(first + i) % len(WORDS)] for i in range(n))


def turn_of(n_tokens, first=0):
    """Return a turn whose text takes exactly this many tokens."""
    if n_tokens <= _BUDGET.prompt + 2:
        return Turn(words(n_tokens - 2, first))
    left, context = n_tokens - _BUDGET.prompt - 3, []
    for room in _BUDGET.context:
        taken = min(room, left)
        # The role and its colon are two of them.
        if taken > 2:
            context.append(Message("user", words(taken - 2, first)))
        left -= taken
    return Turn(words(_BUDGET.prompt, first), tuple(reversed(context)))


def digest_of(n_tokens, session_id, first=0):
    """Return the same text as a request body of a session of its own."""
    turn = turn_of(n_tokens, first)
    context = [{"role": message.role, "text": message.text} for message in turn.context]
    return {"prompt": turn.prompt, "context": context, "session_id": session_id}


def recorded(name):
    """Return a client's request as it was cut down for the reader's tests: path, headers, body."""
    return json.loads((REQUESTS / f"{name}.json").read_text())


_CODE = ["def", "return", "self", "handler", "the", '"quoted"', '{"id": 1}', "path/to/file.py", "error", "//", "<tag>"]


def _code(rng: random.Random, n_chars: int) -> str:
    """Lines that need about as many escapes in JSON as code does."""
    line = "    " + " ".join(rng.choices(_CODE, k=9))
    return "\n".join([line] * (n_chars // len(line) + 1))[:n_chars]


def agent_session(n_bytes: int, result_chars: int = 6_000) -> bytes:
    """Return a Claude Code body: a prompt now and then, a tool call and its result again and again."""
    rng = random.Random(7)
    messages: list[dict] = []
    size = 0
    while size < n_bytes:
        start = len(messages)
        prompt = [{"type": "text", "text": f"<system-reminder>\n{_code(rng, 300)}\n</system-reminder>"}]
        messages.append({"role": "user", "content": [*prompt, {"type": "text", "text": _code(rng, 200)}]})
        for _ in range(10):
            call = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": _code(rng, 100)}}
            result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": _code(rng, result_chars)}
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _code(rng, 200)}, call]})
            messages.append({"role": "user", "content": [result]})
        size += len(json.dumps(messages[start:]))
    return json.dumps({"system": _code(rng, 9_000), "max_tokens": 32_000, "messages": messages}).encode()
