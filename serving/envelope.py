"""A request as it travels to the service: only what routing reads, and no credentials.

Gateways add fields of their own to a body (keys, callers, whole objects), and a body may carry credentials of tool
servers. So fields are named here that go, not those that stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.classifier.identity import known_headers

_FIELDS: Final = (
    "model",
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "thinking",
    "reasoning",
    "reasoning_effort",
    "output_config",
    "output_format",
    "response_format",
    "text",
    "prompt_cache_key",
    "client_metadata",
    # of a digest
    "prompt",
    "context",
    "context_tokens",
    "session_id",
)
_METADATA_FIELDS: Final = ("user_id", "session_id")
#: Where the definition of a remote tool server keeps its credentials.
_TOOL_SECRETS: Final = frozenset({"authorization", "authorization_token", "headers"})


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request, as far as deciding goes. A body of bytes is sent as it is."""

    body: Mapping[str, Any] | bytes
    headers: Mapping[str, str]
    path: str | None = None
    session_id: str | None = None


def sealed(request: Request, limits: Mapping[str, Any]) -> bytes:
    """Return the envelope of a request; `limits` are the fields that restrict the choice."""
    body = orjson.Fragment(request.body) if isinstance(request.body, bytes) else readable_part(request.body)
    asked = {"headers": known_headers(request.headers), "path": request.path, "session_id": request.session_id}
    named = {name: value for name, value in (asked | dict(limits)).items() if value}
    return orjson.dumps({"request": body, **named}, default=_left_out)


def readable_part(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body that the service reads."""
    part = {name: body[name] for name in _FIELDS if name in body}
    if isinstance(tools := part.get("tools"), list):
        part["tools"] = [_without_secrets(tool) for tool in tools]
    if isinstance(metadata := body.get("metadata"), Mapping):
        part["metadata"] = {name: metadata[name] for name in _METADATA_FIELDS if isinstance(metadata.get(name), str)}
    return part


def _without_secrets(tool: object) -> object:
    # A function's own parameters may well be called so; they are nested deeper.
    if isinstance(tool, dict) and not _TOOL_SECRETS.isdisjoint(tool):
        return {name: value for name, value in tool.items() if name not in _TOOL_SECRETS}
    return tool


def _left_out(_: object) -> None:
    """Objects of the gateway inside a field: none of them matters here."""
