"""The environment of a client behind a gateway: where it asks, with which key, and in which layout it shapes bodies.

Claude Code shapes a request for the model that it believes to use. For the 5.5 family and for unknown names it writes
system messages inside the conversation, which many other models are not known to take: a catalogue that likes such a
model best would never see it chosen. For those the client is told to use a model of the 4.5 family, and not to think,
since the two families ask for thinking in ways that the other does not take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pointsman.classifier.catalog import Catalog, Model

from .configs import GATEWAYS, PROVIDERS, GatewayConfigError

_IN_CONVERSATION: Final = "mid_system"
#: A model whose layout every other one takes; the 4.5 family is the last that Claude Code shapes so.
_CLASSIC: Final = "thinking_enabled"
_OPENAI_FORMS: Final = frozenset({"azure", "openai"})


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a gateway listens, and the variable of its own key; None where it passes the client's on."""

    base_url: str
    key: str | None


def client_lines(listener: Listener) -> Iterator[str]:
    """Yield what sends Claude Code through a gateway, as shell."""
    yield f'export ANTHROPIC_BASE_URL="{listener.base_url}"'
    if listener.key is not None:
        # The variable's name, not its value: nothing secret is printed.
        yield f'export ANTHROPIC_AUTH_TOKEN="${listener.key}"'
        yield "unset ANTHROPIC_API_KEY"


def profile_lines(catalog: Catalog, gateway: str, listener: Listener) -> Iterator[str]:
    """Yield the same for the models of a catalogue, with what gateway and providers need said in comments.

    Raises
    ------
    GatewayConfigError
        The gateway reaches none of the models that the catalogue weighs.
    """
    can_carry, _ = GATEWAYS[gateway]
    weighed = [model for model in catalog.weighed if can_carry(model)]
    if not weighed:
        msg = f"{gateway} reaches no model of {catalog.name}; expected one. Use --gateway litellm for this catalogue."
        raise GatewayConfigError(msg)
    keys = sorted({PROVIDERS[model.provider].key for model in weighed if model.provider in PROVIDERS})
    yield f"# {catalog.name} through {gateway}, which reads {', '.join(keys)} where it runs"
    for model in weighed:
        if model.provider == "ollama":
            yield f"# where Ollama runs: OLLAMA_CONTEXT_LENGTH={model.context} ollama serve; its key may be any word"
    if all(model.provider in _OPENAI_FORMS for model in weighed):
        yield f'export OPENAI_BASE_URL="{listener.base_url}/v1"'
        if listener.key is not None:
            yield f'export OPENAI_API_KEY="${listener.key}"'
        return
    yield from client_lines(listener)
    yield from _layout_lines(catalog, weighed)


def _layout_lines(catalog: Catalog, weighed: list[Model]) -> Iterator[str]:
    best = next((model for model in weighed if model.name in catalog.roles["cheap"]), None)
    classic = next((model.name for model in weighed if _CLASSIC in model.capabilities), None)
    if best is None or _IN_CONVERSATION in best.capabilities:
        return
    if classic is None:
        yield f"# {best.name} will not be chosen: Claude Code writes system messages inside the conversation"
        return
    yield f"# bodies in a layout that {best.name} takes; which model answers is decided all the same"
    yield f'export ANTHROPIC_MODEL="{classic}"'
    yield "export MAX_THINKING_TOKENS=0"
