"""Values out of bytes, so that a fuzzer that knows only bytes comes by JSON that means something."""

import re
import struct

WORDS = re.findall(
    r"\S+",
    """
messages input system instructions tools role type content text user assistant developer tool tool_result tool_use
tool_use_id image document source base64 data input_text output_text function_call function_call_output output
metadata user_id session_id prompt_cache_key thinking adaptive output_config format json_schema schema properties
title max_tokens prompt context request headers models policy path context_tokens decision_id outcome comment
idempotency_key inputs success failure category risk scope turn claude-opus-5-5 claude-haiku-5-5 balanced careful
""",
)
TEXTS = (
    "<system-reminder>",
    "</system-reminder>",
    "<command-name>/init</command-name>",
    "<local-command-stdout>",
    "[Request interrupted by user]",
    "This session is being continued from a previous conversation",
    "# AGENTS.md instructions for /x",
    "@model:claude-haiku-5-5 fix it",
    "@policy:",
    "\ud800",
    "\u202e\u200b\u0000",
    "ﬃ" * 50,
    "e" + "\u0301" * 500,
    "1e999",
    "-0",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**30), 0.1, float("inf"), float("nan"), 1e308, -0.0)
HEADERS = (
    "content-type",
    "content-encoding",
    "content-length",
    "user-agent",
    "x-pointsman-session",
    "x-pointsman-model",
    "x-pointsman-models",
    "x-pointsman-policy",
    "x-pointsman-project",
    "x-claude-code-session-id",
    "x-claude-code-agent-id",
    "anthropic-beta",
    "idempotency-key",
    "authorization",
    "cookie",
    "traceparent",
    "x-forwarded-for",
)
MAX_DEPTH = 6


class Source:
    """Reads choices off the front of some bytes; at their end every choice is the first."""

    def __init__(self, data):
        self._data, self._at = data, 0

    def byte(self):
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def flag(self):
        return self.byte() % 2 == 1

    def of(self, choices):
        return choices[self.byte() % len(choices)]

    def take(self, n_bytes):
        taken = self._data[self._at : self._at + n_bytes]
        self._at += n_bytes
        return taken

    def rest(self):
        return self.take(len(self._data))

    def text(self):
        kind = self.byte() % 4
        if kind == 0:
            return self.of(WORDS)
        if kind == 1:
            return self.of(TEXTS) + self.of(WORDS)
        if kind == 2:
            return self.take(self.byte() % 32).decode("utf-8", "replace")
        return "".join(map(chr, self.take(self.byte() % 16))) * (1 + self.byte())

    def number(self):
        if self.flag():
            return self.of(NUMBERS)
        return struct.unpack("<d", self.take(8).ljust(8, b"\0"))[0]

    def value(self, depth=0):
        """Any JSON; objects mostly have keys that mean something."""
        kind = self.byte() % (8 if depth < MAX_DEPTH else 5)
        if kind < 2:
            return self.text()
        if kind < 5:
            return (None, self.flag(), self.number())[kind - 2]
        n_items = self.byte() % 6
        if kind == 5:
            return [self.value(depth + 1) for _ in range(n_items)]
        return {self._key(): self.value(depth + 1) for _ in range(n_items)}

    def _key(self):
        return self.of(WORDS) if self.byte() % 8 else self.text()

    def header_names(self):
        return [self.of(HEADERS) for _ in range(self.byte() % 5)]

    def spoiled(self, whole):
        """Some bytes of a file written over, put in, or cut off."""
        raw = bytearray(whole)
        for _ in range(1 + self.byte() % 4):
            at = int.from_bytes(self.take(3), "big") % (len(raw) + 1)
            part, how = self.take(self.byte() % 24), self.byte() % 3
            if how == 0:
                raw[at : at + len(part)] = part
            elif how == 1:
                raw[at:at] = part
            else:
                del raw[at : at + 1 + 16 * len(part)]
        return bytes(raw)
