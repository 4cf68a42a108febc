"""Decides which model should take a coding agent's turn. Runs on numpy, onnxruntime and tokenizers.

>>> from pointsman.classifier import Router
>>> Router.load().decide({"prompt": "fix the typo in the README"}).model  # doctest: +SKIP
'claude-haiku-5-5'
"""

from .assessment import Assessment, Decision, Kind, Message, Turn
from .catalog import Catalog
from .errors import ClassifierError
from .memory_sessions import MemorySessions
from .policy import Policy
from .router import Router
from .session import SessionStore

__all__ = [
    "Assessment",
    "Catalog",
    "ClassifierError",
    "Decision",
    "Kind",
    "MemorySessions",
    "Message",
    "Policy",
    "Router",
    "SessionStore",
    "Turn",
]
