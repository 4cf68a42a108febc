"""One question to a language model behind an OpenAI- or Anthropic-compatible endpoint, and what it cost in tokens.

The providers' own clients carry it: they wait as long as a `Retry-After` says, back off, and give up in the end.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pointsman.classifier.errors import InputError

Provider = Literal["openai", "anthropic"]

_KEYS: Final[dict[Provider, str]] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
#: Room to think and to answer: an answer takes about 40 tokens a turn.
_MAX_OUTPUT_TOKENS: Final = 8_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is; the key comes from the environment, as the provider names it."""

    provider: Provider
    model: str
    base_url: str | None = None
    max_retries: int = 6
    timeout_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said; `input_tokens` includes those read from its cache."""

    text: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int


#: Takes the standing instructions and one question.
Chat = Callable[[str, str], Answer]


def open_chat(endpoint: Endpoint) -> Chat:
    """Return what asks this endpoint.

    Raises
    ------
    InputError
        No key is set for the provider's own address; and when asked, the endpoint failed for good.
    """
    key = os.environ.get(_KEYS[endpoint.provider])
    if key is None and endpoint.base_url is None:
        msg = f"{_KEYS[endpoint.provider]} is not set; expected the key of {endpoint.provider}. Set it, or --base-url."
        raise InputError(msg)
    chat = _openai if endpoint.provider == "openai" else _anthropic
    # Servers of one's own often want no key, their clients always one.
    return chat(endpoint, key or "none")


def _openai(endpoint: Endpoint, key: str) -> Chat:
    import openai

    client = openai.OpenAI(
        api_key=key, base_url=endpoint.base_url, max_retries=endpoint.max_retries, timeout=endpoint.timeout_s
    )

    def chat(system: str, question: str) -> Answer:
        try:
            reply = client.chat.completions.create(
                model=endpoint.model,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": question}],
            )
        except openai.APIError as error:
            raise _failure(endpoint, error, getattr(error, "status_code", None)) from error
        usage = reply.usage
        text = (reply.choices[0].message.content or "") if reply.choices else ""
        if usage is None:
            return Answer(text, 0, 0, 0)
        details = usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details is not None else 0
        return Answer(text, usage.prompt_tokens, cached, usage.completion_tokens)

    return chat


def _anthropic(endpoint: Endpoint, key: str) -> Chat:
    import anthropic

    client = anthropic.Anthropic(
        api_key=key, base_url=endpoint.base_url, max_retries=endpoint.max_retries, timeout=endpoint.timeout_s
    )

    def chat(system: str, question: str) -> Answer:
        try:
            reply = client.messages.create(
                model=endpoint.model,
                max_tokens=_MAX_OUTPUT_TOKENS,
                # The guide is the same in every request: the provider may keep it.
                system=[{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
                messages=[{"role": "user", "content": question}],
            )
        except anthropic.APIError as error:
            raise _failure(endpoint, error, getattr(error, "status_code", None)) from error
        text = "".join(block.text for block in reply.content if block.type == "text")
        usage = reply.usage
        cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        return Answer(text, usage.input_tokens + cached + written, cached, usage.output_tokens)

    return chat


def _failure(endpoint: Endpoint, error: Exception, status: int | None) -> InputError:
    # The provider's message may quote what was sent: only its kind goes on.
    found = type(error).__name__ + (f", status {status}" if status is not None else "")
    msg = (
        f"{endpoint.provider} model {endpoint.model!r} gave no answer ({found}); retries are used up where they help. "
        "Check model, key and --base-url, then run again: what was labelled is kept."
    )
    return InputError(msg)
