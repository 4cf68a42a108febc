"""The three request formats of coding agents, reduced to one list of items.

Anthropic Messages and OpenAI Chat Completions share `messages`; OpenAI Responses has `input`. Whatever a block or a
message is called, what matters for routing is who speaks, which text stands in it, and whether a tool is called or
answers. The same walk counts images and documents and estimates the size. It goes once over the body and without
recursion, so neither nesting nor size can break it; unknown parts are measured and else ignored.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Role = Literal["user", "assistant", "system", "tool", "other"]
Dialect = Literal["anthropic", "chat", "responses"]

# Characters per token: measured 2026-11 with the o200k vocabulary and Anthropic's published (old) one on prompts,
# Markdown, logs, Python and JSON, which gave 3.3-3.5, 3.0-3.2, 3.7-4.0, 4.4-4.8 and 2.8-2.9; file listings gave 2.4.
TEXT_CHARS_PER_TOKEN: Final = 3.5
JSON_CHARS_PER_TOKEN: Final = 3.0
# A UTF-8 byte beyond one per character adds this much: Chinese then costs 1.34 characters per token (measured 1.1-1.4),
# Cyrillic 2.0 (1.8-3.1).
TOKENS_PER_EXTRA_BYTE: Final = 0.3
# Encrypted thinking is base64 (4 characters for 3 bytes) of text with about 4 bytes per token.
ENCRYPTED_CHARS_PER_TOKEN: Final = 5.0
IMAGE_TOKENS: Final = 1_500
# A scanned or typeset page costs 1,500 to 3,000 tokens and about 60-100 KB of base64.
DOCUMENT_TOKENS: Final = 3_000
DOCUMENT_CHARS_PER_TOKEN: Final = 40

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_IMAGES: Final = frozenset({"image", "image_url", "input_image"})
_DOCUMENTS: Final = frozenset({"document", "file", "input_file"})
_REASONING: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
# No text has a word this long. Shorter encoded strings do not matter.
_MIN_ENCODED_CHARS: Final = 512
_ENCODED: Final = re.compile(rf"(?:data:[^,]{{0,100}};base64,)?[A-Za-z0-9+/=_-]{{{_MIN_ENCODED_CHARS}}}")
# A member of an object has `"": , ` and a name, guessed at eight characters: reading each name would take a third of
# the time.
_MEMBER_CHARS: Final = 14
_SCALAR_CHARS: Final = 4


# What stands in an item beside text. Plain integers: a body of thousands of messages makes thousands of them.
CALL: Final = 1
RESULT: Final = 2
MEDIA: Final = 4


class Item(NamedTuple):
    """One message, or one role-less item of a Responses body.

    `holds` adds up `CALL` (calls a tool), `RESULT` (answers such a call) and `MEDIA` (an image or document outside of a
    tool's answer). `output_tokens` estimates what a model put out here, its thinking included as far as it is sent.
    """

    role: Role
    texts: list[str]
    holds: int = 0
    output_tokens: float = 0.0

    @property
    def uses_tool(self) -> bool:
        return bool(self.holds & (CALL | RESULT))

    @property
    def has_result(self) -> bool:
        return bool(self.holds & RESULT)

    @property
    def has_media(self) -> bool:
        return bool(self.holds & MEDIA)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request body as routing sees it.

    Attributes
    ----------
    dialect : str
        `anthropic`, `chat` or `responses`.
    items : tuple of Item
        In the order of the body. System messages inside the list are items too.
    system : tuple of str
        The text blocks that stand outside the list: Anthropic's `system`, OpenAI's `instructions`.
    wants_compaction : bool
        The last item asks the server to compact the conversation (Codex).
    context_tokens : int
        Estimate over system, tools and messages, without the provider's tokenizer. Against the two named above it is
        within 15 % on prompts, Markdown and logs, up to 36 % high on Python, up to 20 % low on Chinese and on JSON
        pasted as text, and up to 33 % low on file listings. A PDF can be off several times.
    n_images, n_documents : int
        Over the whole body, tool results included.
    """

    dialect: Dialect
    items: tuple[Item, ...]
    system: tuple[str, ...]
    wants_compaction: bool
    context_tokens: int
    n_images: int
    n_documents: int

    @property
    def system_texts(self) -> list[str]:
        """The system prompt's text blocks, wherever the format puts them."""
        first = self.items[:1]
        return [*self.system, *(text for item in first if item.role == "system" for text in item.texts)]


def read_conversation(
    body: Mapping[str, object], *, headers: Mapping[str, str], path: str | None
) -> Conversation | None:
    """Read a body of any of the three formats; `None` when it has neither `messages` nor `input`."""
    messages = body.get("messages")
    entries: object = messages if isinstance(messages, list) else body.get("input")
    if isinstance(entries, str):
        entries = [{"role": "user", "content": entries}]
    if not isinstance(entries, list):
        return None
    size = _Size()
    system: list[str] = []
    for name in ("system", "instructions"):
        _read_content(body.get(name), size, system)
    size.add_data(body.get("tools"))
    items = tuple(_read_entry(entry, size) for entry in entries if isinstance(entry, dict))
    dialect = _dialect(body, items, headers, path) if isinstance(messages, list) else "responses"
    last = entries[-1] if entries else None
    return Conversation(
        dialect=dialect,
        items=items,
        system=tuple(system),
        wants_compaction=isinstance(last, dict) and last.get("type") == "compaction_trigger",
        context_tokens=size.tokens,
        n_images=size.n_images,
        n_documents=size.n_documents,
    )


def estimate_tokens(texts: Iterable[str]) -> int:
    """Estimate the tokens of plain texts, as `Conversation.context_tokens` does."""
    size = _Size()
    for text in texts:
        size.add_text(text)
    return size.tokens


def _dialect(
    body: Mapping[str, object], items: tuple[Item, ...], headers: Mapping[str, str], path: str | None
) -> Dialect:
    """Tell the two formats with `messages` apart, by the path where there is one."""
    if path and "/chat/completions" in path:
        return "chat"
    if path and "/messages" in path:
        return "anthropic"
    if "system" in body or "anthropic-version" in headers or isinstance(body.get("thinking"), dict):
        return "anthropic"
    tools = body.get("tools")
    first = tools[0] if isinstance(tools, list) and tools else None
    if isinstance(first, dict) and "input_schema" in first:
        return "anthropic"
    # Chat has a role of its own for tool results; Anthropic puts them into user messages.
    return "anthropic" if any(item.role == "user" and item.has_result for item in items) else "chat"


def _read_entry(entry: dict[str, object], size: "_Size") -> Item:
    """Read one element of `messages` or `input`."""
    name = entry.get("role")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is not None:
        return _read_message(entry, role, size)
    kind = entry.get("type")
    if isinstance(kind, str) and kind.endswith("_output"):
        size.add_content(entry.get("output"))
        return Item("tool", [], RESULT)
    began = size.written_tokens
    size.add_content(entry)
    if isinstance(kind, str) and kind.endswith("_call"):
        return Item("assistant", [], CALL, size.written_tokens - began)
    is_reasoning = isinstance(kind, str) and kind in _REASONING
    return Item("other", [], 0, size.written_tokens - began if is_reasoning else 0.0)


def _read_message(message: dict[str, object], role: Role, size: "_Size") -> Item:
    texts: list[str] = []
    began = size.written_tokens if role == "assistant" else 0.0
    holds = _read_content(message.get("content"), size, texts)
    if called := message.get("tool_calls") or message.get("function_call"):
        size.add_data(called)
        holds |= CALL
    if role == "tool":
        return Item("tool", [], RESULT)
    return Item(role, texts, holds, size.written_tokens - began if role == "assistant" else 0.0)


def _read_content(content: object, size: "_Size", texts: list[str]) -> int:
    """Append the text blocks of a message to `texts`; return what else it holds."""
    holds = 0
    for block in content if isinstance(content, list) else (content,):
        if isinstance(block, str):
            size.add_text(block)
            texts.append(block)
        elif isinstance(block, dict):
            holds |= _read_block(block, size, texts)
    return holds


def _read_block(block: dict[str, object], size: "_Size", texts: list[str]) -> int:
    """Read one block of a message: append its text to `texts`, or return what it holds."""
    kind = block.get("type", "text")
    # Nine of ten blocks of a long session are these two.
    if kind == "tool_use":
        size.add_data(block)
        return CALL
    if kind == "tool_result":
        size.add_content(block.get("content"))
        return RESULT
    if not isinstance(kind, str):
        size.add_data(block)
        return 0
    text = block.get("text") if kind in _TEXTS else None
    if isinstance(text, str):
        size.add_text(text)
        texts.append(text)
        return 0
    size.add_content(block)
    return _held(kind)


def _held(kind: str) -> int:
    if kind.endswith("tool_result"):
        return RESULT
    if kind.endswith("tool_use"):
        return CALL
    return MEDIA if kind in _IMAGES or kind in _DOCUMENTS else 0


class _Size:
    """Running totals of one body."""

    __slots__ = (
        "_document_tokens",
        "_encrypted",
        "_extra_bytes",
        "_json_chars",
        "_text_chars",
        "n_documents",
        "n_images",
    )

    def __init__(self) -> None:
        self.n_images = self.n_documents = 0
        self._text_chars = self._json_chars = self._extra_bytes = self._encrypted = self._document_tokens = 0

    @property
    def tokens(self) -> int:
        return round(self.written_tokens + self.n_images * IMAGE_TOKENS + self._document_tokens)

    @property
    def written_tokens(self) -> float:
        """Everything but images and documents, which no model writes."""
        return (
            self._text_chars / TEXT_CHARS_PER_TOKEN
            + self._json_chars / JSON_CHARS_PER_TOKEN
            + self._extra_bytes * TOKENS_PER_EXTRA_BYTE
            + self._encrypted / ENCRYPTED_CHARS_PER_TOKEN
        )

    def add_text(self, text: str) -> None:
        self._text_chars += len(text)
        if not text.isascii():
            self._extra_bytes += _extra_bytes(text)

    def add_content(self, content: object) -> None:
        """Add content whose text is not read: a block, or a tool's answer with blocks inside."""
        if isinstance(content, str):
            self.add_text(content)
            return
        pending = [content]
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                self.add_text(value)
            elif isinstance(value, list):
                pending.extend(value)
            elif isinstance(value, dict):
                pending.append(self._add_block(value))

    def _add_block(self, block: dict[str, object]) -> object:
        """Add one block; return the content inside it that is still to be added."""
        kind = block.get("type")
        if not isinstance(kind, str):
            self.add_data(block)
        elif kind in _TEXTS and isinstance(block.get("text"), str):
            return block["text"]
        elif kind.endswith("tool_result"):
            return block.get("content")
        elif kind in _IMAGES:
            self.n_images += 1
        elif kind in _DOCUMENTS:
            return self._add_document(block)
        elif kind in _REASONING:
            # Most clients carry the model's thinking along in encrypted form only.
            self._encrypted += self.add_data(block)
        else:
            self.add_data(block)
        return None

    def _add_document(self, block: dict[str, object]) -> object:
        """Count a document; return its content when that is plain text or blocks."""
        self.n_documents += 1
        source = block.get("source") or block.get("file")
        source = source if isinstance(source, dict) else block
        if source.get("type") == "text":
            return source.get("data")
        if source.get("type") == "content":
            return source.get("content")
        data = source.get("data") or source.get("file_data")
        n_chars = len(data) if isinstance(data, str) else 0
        self._document_tokens += max(DOCUMENT_TOKENS, n_chars // DOCUMENT_CHARS_PER_TOKEN)
        return None

    def add_data(self, value: object) -> int:
        """Add any JSON value as the text it prints; return how many characters of encoded data were left out."""
        chars = encoded = 0
        pending = [value] if value else []
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                if len(value) >= _MIN_ENCODED_CHARS and _ENCODED.match(value):
                    encoded += len(value)
                    continue
                chars += len(value)
                if not value.isascii():
                    self._extra_bytes += _extra_bytes(value)
            elif isinstance(value, dict):
                chars += _MEMBER_CHARS * len(value)
                pending.extend(value.values())
            elif isinstance(value, list):
                chars += len(value)
                pending.extend(value)
            else:
                chars += _SCALAR_CHARS
        self._json_chars += chars
        return encoded


def _extra_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) - len(text)
