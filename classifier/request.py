"""Request bodies of every client, reduced to a `Turn`.

A gateway hands over what a coding agent sent: an Anthropic Messages, OpenAI Chat Completions or OpenAI Responses body,
or a small digest of one. Reading never raises: a body nobody can read gives an empty prompt and a `reason`, because the
request behind it still has to go to some model.

Parsing: orjson and msgspec read these bodies about equally fast, 2 to 3 times as fast as the standard library; typed
partial structs gain nothing more, since most of a body is message text that has to be read
(`tests/benchmarks/test_request_speed.py` compares them). The standard library stays as the second reader: it takes NaN,
lone surrogates and a byte-order mark, which orjson refuses.
"""

import json
from collections.abc import Mapping
from typing import Final, TypeGuard

import orjson

from .assessment import Background, Kind, Message, Turn
from .background import background_of, schema_fields
from .conversation import Conversation, Item, estimate_tokens, read_conversation
from .human_text import Written, read_written
from .identity import Identity, TurnKeys, bounded_id, hash_parts, known_headers, normalised, read_identity, storable
from .story import DISTINCT_CHARS, NO_CHAIN, Story, chain_of, context_before, cut_message, kind_of
from .text import MAX_CONTEXT_MESSAGES

_MAX_TOKENS_FIELDS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# A larger number of tokens is no reservation but a mistake, or an overflow waiting in somebody's database.
MAX_COUNT: Final = 2**31 - 1
_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")

NO_JSON: Final = "the body is not JSON"
NO_OBJECT: Final = "the body is not a JSON object"
NO_MESSAGES: Final = "the body has no list of messages and no input"
NO_DIGEST: Final = "the digest has no prompt that is a string"
NO_PROMPT: Final = "no message of the body holds a person's text"
ONLY_MEDIA: Final = "the last message of the person holds an image or document and no text"


def parse_body(body: bytes | bytearray | memoryview | str) -> tuple[object, str | None]:
    """Parse a request body; never raises.

    Returns
    -------
    value : object
        The JSON value, `None` when there is none.
    reason : str or None
        Why there is none, without a word of the body.
    """
    try:
        return orjson.loads(body), None
    except ValueError:
        pass
    if isinstance(body, memoryview | bytearray):
        body = bytes(body)
    if not body.strip():
        return None, "the body is empty"
    if isinstance(body, bytes) and body.startswith(_COMPRESSED):
        return None, "the body is compressed; decode it before asking"
    return _parse_leniently(body)


def _parse_leniently(body: bytes | str) -> tuple[object, str | None]:
    try:
        try:
            return json.loads(body), None
        except UnicodeDecodeError:
            # One bad byte in a tool's output is no reason to lose the turn.
            return json.loads(body.decode("utf-8", "replace") if isinstance(body, bytes) else body), None
    except json.JSONDecodeError as error:
        return None, f"{NO_JSON} (at character {error.pos})"
    except ValueError:
        return None, f"{NO_JSON} that Python reads"
    except RecursionError:
        return None, "the body is nested too deeply"


def read_request(
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    path: str | None = None,
    session_id: str | None = None,
) -> Turn:
    """Reduce a request of a coding agent to what routing needs; never raises.

    Parameters
    ----------
    body : bytes, str or mapping
        The body as received, or already parsed. Anything else gives an empty prompt and a reason.
    headers : mapping of str to str, optional
        In any case. Credentials among them are not looked at.
    path : str, optional
        Path of the request, with or without a query: tells token counts and compaction from turns.
    session_id : str, optional
        Overrides what headers and body say.

    Returns
    -------
    Turn
        A background call has an empty prompt, no context and no reason. A request that goes on after the client folded
        its prompt into a summary is a tool loop with an empty prompt. Where neither a session nor a prompt is known,
        the keys are empty: there is nothing to find such a request again by.

    Examples
    --------
    >>> turn = read_request({"messages": [{"role": "user", "content": "Rename the flag"}]})
    >>> turn.prompt, str(turn.kind)
    ('Rename the flag', 'task')
    """
    known = known_headers(headers)
    reason = None
    if isinstance(body, bytes | bytearray | memoryview | str):
        body, reason = parse_body(body)
    if not isinstance(body, Mapping):
        return _unreadable(reason or NO_OBJECT, read_identity({}, known, session_id=session_id))
    bare_path = path.partition("?")[0].rstrip("/") if isinstance(path, str) else None
    conversation = read_conversation(body, headers=known, path=bare_path)
    if conversation is None:
        return _unreadable(NO_MESSAGES, read_identity(body, known, session_id=session_id))
    story = Story.of(conversation.items)
    background = background_of(body, conversation, headers=known, path=bare_path, last_texts=story.last_texts)
    who = read_identity(body, known, session_id=session_id, system=conversation.system_texts)
    return _turn(body, conversation, story, who, background)


def read_digest(digest: object, headers: Mapping[str, str] | None = None, *, session_id: str | None = None) -> Turn:
    """Read the small form, for gateways that cannot pass a whole body on; never raises.

    Parameters
    ----------
    digest : mapping
        `prompt`, and optionally `context` (a list of `{"role", "text"}`, oldest first), `context_tokens`, `session_id`.
        The context must stop before the prompt: then every request of a tool loop gives the same key.
    headers, session_id
        As for `read_request`.

    Returns
    -------
    Turn
        Always a task or a subagent's task: a digest does not say what came after the prompt. Without a session its
        turns are not linked to each other.
    """
    known = known_headers(headers)
    fields = digest if isinstance(digest, Mapping) else {}
    metadata = {"session_id": fields.get("session_id")}
    who = read_identity({"metadata": metadata}, known, session_id=session_id)
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        return _unreadable(NO_DIGEST, who)
    return _digest_turn(prompt, fields, who)


def _digest_turn(prompt: str, fields: Mapping[str, object], who: Identity) -> Turn:
    written = storable(read_written([prompt]).text)
    context = _digest_context(fields.get("context"))
    tokens = fields.get("context_tokens")
    history = [text for message in context for text in (message.role, normalised(message.text))]
    words = (*history, normalised(written))
    before = after = ""
    if who.session_id is None:  # else it is found by its name
        before, after = f"anon:{hash_parts(*history)}", f"anon:{hash_parts(*words)}"
    n_said = sum(len(message.text) for message in context if message.role == "assistant")
    keys = TurnKeys.of(who, before=before, after=after, turn=words, is_shared=n_said < DISTINCT_CHARS)
    return Turn(
        prompt=written,
        context=context,
        kind=Kind.SUBAGENT if who.is_subagent else Kind.TASK,
        context_tokens=tokens if is_count(tokens) else estimate_tokens([prompt, *(m.text for m in context)]),
        session_id=who.session_id,
        agent_id=who.agent_id,
        key=keys.turn,
        request_key=keys.turn,
        state_key="" if keys.is_shared else keys.before,
        next_state_key=keys.after,
        reason=None if written else NO_PROMPT,
    )


def _digest_context(context: object) -> tuple[Message, ...]:
    messages = []
    for entry in context[-MAX_CONTEXT_MESSAGES:] if isinstance(context, list) else []:
        role, text = (entry.get("role"), entry.get("text")) if isinstance(entry, dict) else (None, None)
        if role in ("user", "assistant") and isinstance(text, str) and (kept := read_written([text])) != Written(""):
            messages.append(cut_message(role, kept.text or kept.summary))
    return tuple(messages)


def _turn(
    body: Mapping[str, object], conversation: Conversation, story: Story, who: Identity, background: Background | None
) -> Turn:
    kind = Kind.BACKGROUND if background else kind_of(story, is_subagent=who.is_subagent)
    keys = _story_keys(story, who, background)
    needs = _needs(body, conversation)
    return Turn(
        prompt="" if background else storable(story.prompt),
        context=() if background else context_before(story),
        kind=kind,
        background=background,
        context_tokens=conversation.context_tokens,
        session_id=who.session_id,
        agent_id=who.agent_id,
        key=keys.turn,
        request_key=_request_key(keys, who, kind, story, conversation, needs),
        # Without a session the words so far may be another person's: what they led to there is not this one's past.
        state_key="" if keys.is_shared else keys.before,
        next_state_key=keys.before if background else keys.after,
        story_key=keys.before,
        needs=needs,
        n_images=conversation.n_images,
        n_documents=conversation.n_documents,
        output_tokens=round(sum(item.output_tokens for item in story.followers)),
        client_model=bounded_id(body.get("model")),
        max_output_tokens=next((n for name in _MAX_TOKENS_FIELDS if is_count(n := body.get(name))), None),
        reason=None if background else _missing(story),
    )


def _request_key(
    keys: TurnKeys, who: Identity, kind: Kind, story: Story, conversation: Conversation, needs: frozenset[str]
) -> str:
    if not keys.turn:
        return ""
    # Without a session a retry is told from another person's words by all that it sends.
    sent = () if who.session_id is not None else (conversation.context_tokens, *sorted(needs))
    return hash_parts(keys.turn, kind, len(story.followers), *sent)


def _missing(story: Story) -> str | None:
    if story.prompt:
        return None
    return ONLY_MEDIA if story.prompts else NO_PROMPT


def _story_keys(story: Story, who: Identity, background: Background | None) -> TurnKeys:
    chain = NO_CHAIN if who.session_id is not None else chain_of(story)
    # Some gateways drop the header with the agent's name; its first prompt then tells it from its parent.
    agent = f"sub-{hash_parts(normalised(story.first_prompt))}" if who.is_subagent else None
    words = chain.after or normalised(story.prompt or story.summary)
    turn = (len(story.prompts), words, background or "")
    return TurnKeys.of(
        who, before=chain.before, after=chain.after, turn=turn, agent=agent, is_shared=not chain.is_distinct
    )


def _needs(body: Mapping[str, object], conversation: Conversation) -> frozenset[str]:
    thinking = _field(body, "thinking", "type")
    efforts = (
        _field(body, "output_config", "effort"),
        _field(body, "reasoning", "effort"),
        body.get("reasoning_effort"),
    )
    asked = {
        "tools": bool(body.get("tools")),
        "images": conversation.n_images > 0,
        "documents": conversation.n_documents > 0,
        "thinking_enabled": thinking == "enabled",
        "thinking_adaptive": thinking == "adaptive",
        "effort": any(isinstance(effort, str) for effort in efforts),
        "mid_system": conversation.dialect == "anthropic" and _has_mid_system(conversation.items),
        "structured_output": schema_fields(body) is not None,
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)


def _has_mid_system(items: tuple[Item, ...]) -> bool:
    first_user = next((i for i, item in enumerate(items) if item.role == "user"), len(items))
    return any(item.role == "system" for item in items[first_user:])


def _field(body: Mapping[str, object], outer: str, inner: str) -> object:
    value = body.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def is_count(value: object) -> TypeGuard[int]:
    """Say whether a value that a client sends can be a number of tokens: whole, positive, and storable."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_COUNT


def _unreadable(reason: str, who: Identity) -> Turn:
    keys = TurnKeys.of(who, before="", after="", turn=("",))
    return Turn(
        prompt="",
        kind=Kind.SUBAGENT if who.is_subagent else Kind.TASK,
        session_id=who.session_id,
        agent_id=who.agent_id,
        key=keys.turn,
        request_key=keys.turn,
        state_key=keys.before,
        next_state_key=keys.after,
        reason=reason,
    )
