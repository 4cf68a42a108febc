"""Asks the decision service from Python; `pointsman[client]` installs what it needs.

>>> from pointsman.client import Client
>>> client = Client("http://127.0.0.1:8095", safe_model="claude-opus-5-5")  # doctest: +SKIP
>>> client.decide({"prompt": "fix the typo in the README"}).model  # doctest: +SKIP
'claude-haiku-5-5'
"""

from pointsman.serving.client import DEFAULT_URL, AsyncClient, Choice, Client, Failure

__all__ = ["DEFAULT_URL", "AsyncClient", "Choice", "Client", "Failure"]
