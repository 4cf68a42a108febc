"""Requests that a client sends on its own account: titles, topic checks, summaries, token counts, probes, web pages.

They carry a person's words but are no task, so they are told by shape first (no tools, a schema that asks for a title,
one token of output) and by the client's fixed opening words second. A wrong "background" would send a real task to the
cheapest model; a missed one costs a few milliseconds. So every rule here wants positive evidence.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from .assessment import Background
from .conversation import Conversation

_COUNT_PATH: Final = re.compile(r"(?:/count[_-]tokens|/responses/input_tokens)(?::\w+)?$")
_COMPACT_PATH: Final = "/responses/compact"

_SUMMARY: Final = re.compile(
    r"(?:CRITICAL: Respond with TEXT ONLY"
    r"|Your task is to create a detailed summary of (?:the|this) conversation"
    r"|You are performing a CONTEXT CHECKPOINT COMPACTION"
    r"|Provide a detailed (?:prompt for continuing|(?:but concise )?summary of) our conversation above)",
    re.IGNORECASE,
)
_TOPIC: Final = re.compile(r"Analyze if this message indicates a new conversation topic", re.IGNORECASE)
_TITLE: Final = re.compile(
    r"(?:<session>"
    r"|(?:Please )?(?:generate|write|create) (?:a|an) (?:[\w-]+ ){0,6}title (?:for|of) (?:the|this)(?: following)? "
    r"(?:conversation|session|chat|thread))",
    re.IGNORECASE,
)
_TITLE_SYSTEM: Final = re.compile(r"You are a (?:conversation |session |thread )?title generator", re.IGNORECASE)
# Claude Code has a page read, or the web searched, by a request beside the tool loop that needs it.
_PAGE: Final = re.compile(r"(?:Web page content:\s*\n---|The text inside the <untrusted-content-\w+> tag below is )")
_SEARCH: Final = re.compile(r"Perform a web search for the query:")
_SEARCH_TOOL: Final = "web_search_"
# A schema with a title among many fields is a task of somebody's application.
_MAX_TITLE_FIELDS: Final = 2
_MAX_PROBE_CHARS: Final = 40
_MAX_OPENING_CHARS: Final = 200


def background_of(
    body: Mapping[str, object],
    conversation: Conversation,
    *,
    headers: Mapping[str, str],
    path: str | None,
    last_texts: list[str],
) -> Background | None:
    """Name the background call this is, or `None` for a person's turn.

    Parameters
    ----------
    body : mapping
        The request.
    conversation : Conversation
        The same body, read.
    headers : mapping of str to str
        Lower-case names.
    path : str or None
        Without the query.
    last_texts : list of str
        The text blocks of the last message with a person's text.
    """
    if _counts_tokens(body, headers, path):
        return "count_tokens"
    if _compacts(conversation, headers, path, last_texts):
        return "summary"
    if _probes_quota(body, conversation, last_texts):
        return "quota"
    if _searches_web(body, conversation, last_texts):
        return "web_search"
    if body.get("tools"):
        return None
    if _n_spoken(conversation) == 1 and _opens_with(_PAGE, last_texts):
        return "web_fetch"
    if _asks_permission(conversation):
        return "permission"
    fields = schema_fields(body) or frozenset()
    system = conversation.system_texts
    if "isNewTopic" in fields or _opens_with(_TOPIC, system) or any("'isNewTopic'" in text for text in system):
        return "topic"
    if "title" in fields and len(fields) <= _MAX_TITLE_FIELDS:
        return "title"
    asked = next((item.texts for item in conversation.items if item.role == "user"), [])
    titled = _opens_with(_TITLE_SYSTEM, system) or _opens_with(_TITLE, [*asked, *last_texts])
    return "title" if titled else None


def schema_fields(body: Mapping[str, object]) -> frozenset[str] | None:
    """Return the top-level fields of the JSON schema the answer must follow; `None` when no schema is asked for."""
    for outer, inner in (
        ("output_config", "format"),
        ("text", "format"),
        ("response_format", None),
        ("output_format", None),
    ):
        form = body.get(outer)
        if inner is not None:
            form = form.get(inner) if isinstance(form, dict) else None
        if isinstance(form, dict) and form.get("type") == "json_schema":
            nested = form.get("json_schema")
            schema = nested.get("schema") if isinstance(nested, dict) else form.get("schema")
            properties = schema.get("properties") if isinstance(schema, dict) else None
            return frozenset(properties) if isinstance(properties, dict) else frozenset()
    return None


def _counts_tokens(body: Mapping[str, object], headers: Mapping[str, str], path: str | None) -> bool:
    """Tell a token count by its path, or by the beta it needs.

    Not by a missing `max_tokens` and `stream` alone: OpenAI bodies and the excerpts that some gateways hand on lack
    both, and those are real tasks.
    """
    if path is not None and _COUNT_PATH.search(path):
        return True
    return "token-counting" in headers.get("anthropic-beta", "") and "max_tokens" not in body and "stream" not in body


def _compacts(conversation: Conversation, headers: Mapping[str, str], path: str | None, last_texts: list[str]) -> bool:
    if conversation.wants_compaction or headers.get("x-openai-subagent") == "compact":
        return True
    if path is not None and path.endswith(_COMPACT_PATH):
        return True
    return _opens_with(_SUMMARY, last_texts)


def _probes_quota(body: Mapping[str, object], conversation: Conversation, last_texts: list[str]) -> bool:
    """One token of output for a word or two: nobody reads the answer, only its headers."""
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    return 1 in limits and _n_spoken(conversation) == 1 and sum(map(len, last_texts)) <= _MAX_PROBE_CHARS


def _searches_web(body: Mapping[str, object], conversation: Conversation, last_texts: list[str]) -> bool:
    tools = body.get("tools")
    if not isinstance(tools, list) or len(tools) != 1 or not isinstance(tools[0], dict):
        return False
    is_search = str(tools[0].get("type")).startswith(_SEARCH_TOOL)
    return is_search and _n_spoken(conversation) == 1 and _opens_with(_SEARCH, last_texts)


def _asks_permission(conversation: Conversation) -> bool:
    """Tell the check that stands in for a person's consent: what was done so far, between marks that are blocks alone.

    Whoever sends a transcript of their own writes it into one block, marks and all.
    """
    marks = ("<transcript>", "</transcript>")
    blocks = (text for item in conversation.items if item.role == "user" for text in item.texts)
    return {text.strip() for text in blocks if len(text) < _MAX_PROBE_CHARS}.issuperset(marks)


def _n_spoken(conversation: Conversation) -> int:
    return sum(item.role != "system" for item in conversation.items)


def _opens_with(pattern: re.Pattern[str], texts: Iterable[str]) -> bool:
    return any(pattern.match(text.lstrip()[:_MAX_OPENING_CHARS]) for text in texts)
