"""`pointsman gateway` writes a gateway's configuration; `pointsman env` prints what a client needs to use it."""

import argparse
import sys
from pathlib import Path
from typing import Final

#: Where each shipped configuration listens, and the variable of its own key; none where it passes the client's on.
_LISTENS: Final = {
    "litellm": ("http://127.0.0.1:4000", "LITELLM_MASTER_KEY"),
    "claude-code-router": ("http://127.0.0.1:3456", "CCR_API_KEY"),
    "nginx": ("http://127.0.0.1:8080", None),
    "envoy": ("http://127.0.0.1:8080", None),
    "envoy-ext-authz": ("http://127.0.0.1:8080", None),
    "envoy-ext-proc": ("http://127.0.0.1:8080", None),
    "haproxy": ("http://127.0.0.1:8080", None),
}
#: Gateways with settings of their own for the rest: where they listen is not in what is written here.
_OWN_ADDRESS: Final = {
    "claude-code-router-3": "Add it in the router's window as a routing rule; clients are set up there, too.",
    "weave": "Put its lines into the environment of Weave Router; clients are set up there.",
}
_KEY_HINT: Final = "Where the service asks for keys, the gateway wants one in POINTSMAN_KEY."


class GatewayCommand:
    """Writes a configuration."""

    help = "write a gateway's configuration for your catalogue"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted((*_LISTENS, *_OWN_ADDRESS)), help="the gateway")
        parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")
        parser.add_argument("--url", default="http://127.0.0.1:8095", help="where the service listens")
        parser.add_argument("--output", type=Path, default=Path(), help="folder to write to (default: this one)")
        parser.add_argument("--force", action="store_true", help="replace files that are there")

    def run(self, args: argparse.Namespace) -> int:
        """Write the files; 2 when one is there already, and then none is written."""
        from pointsman.classifier.catalog import Catalog
        from pointsman.classifier.router import DEFAULT_CATALOG

        from .configs import keys_of, write_config

        catalog = Catalog.load(args.catalog or DEFAULT_CATALOG)
        files, left_out = write_config(args.name, catalog, args.url)
        args.output.mkdir(parents=True, exist_ok=True)
        paths = {args.output / name: text for name, text in files.items()}
        there = [str(path) for path in paths if path.exists()]
        if there and not args.force:
            print(f"pointsman: {', '.join(there)} exists. Choose another --output, or --force.", file=sys.stderr)
            return 2
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
        for sentence in left_out:
            print(sentence)
        # Weave Router cannot send one.
        hint = "" if args.name == "weave" else f" {_KEY_HINT}"
        print(_next_step(args.name, keys_of(catalog)) + hint)
        return 0


def _next_step(gateway: str, keys: list[str]) -> str:
    if gateway not in _LISTENS:
        return _OWN_ADDRESS[gateway]
    _, own_key = _LISTENS[gateway]
    said = f"`pointsman env {gateway}` says what a client needs."
    if own_key is None:
        return f"The client's own key goes to the provider; {said}"
    return f"It reads {', '.join([own_key, *keys])} from its environment; {said}"


class EnvCommand:
    """Prints environment variables."""

    help = "print the environment that sends a client through a gateway, for a gateway or a profile of models"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", help=f"a gateway ({', '.join(sorted(_LISTENS))}), a profile, or a catalogue file")
        parser.add_argument("--gateway", choices=sorted(_LISTENS), default="litellm", help="for a profile")
        parser.add_argument("--base-url", help="where the gateway listens, when not where its configuration says")

    def run(self, args: argparse.Namespace) -> int:
        """Print lines for `eval "$(pointsman env ...)"`."""
        from pointsman.classifier.catalog import Catalog

        from .environment import Listener, client_lines, profile_lines

        if args.name in _OWN_ADDRESS:
            print(
                f"pointsman: {args.name} listens where its own settings say. {_OWN_ADDRESS[args.name]}", file=sys.stderr
            )
            return 2
        gateway = args.name if args.name in _LISTENS else args.gateway
        base_url, key = _LISTENS[gateway]
        listener = Listener(args.base_url or base_url, key)
        if args.name in _LISTENS:
            lines = client_lines(listener)
        else:
            lines = profile_lines(Catalog.load(args.name), gateway, listener)
        print("\n".join(lines))
        return 0
