"""`pointsman gateway` writes a gateway's configuration; `pointsman env` prints what a client needs to use it."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pointsman.serving.commands import fail, missing

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
        parser.add_argument(
            "--catalog", help="catalogue file or profile name (default: POINTSMAN_CATALOG, else anthropic-dashscope)"
        )
        parser.add_argument("--url", default="http://127.0.0.1:8095", help="where the service listens")
        parser.add_argument("--output", type=Path, default=Path(), help="folder to write to (default: this one)")
        parser.add_argument(
            "--force", action="store_true", help="replace files that are there, and keep them as NAME.bak"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Write the files; 2 when one is there already with something else in it, and then none is written."""
        from pointsman.classifier.catalog import Catalog
        from pointsman.classifier.router import DEFAULT_CATALOG

        try:
            from .configs import keys_of, write_config
        except ModuleNotFoundError as exc:
            return fail(missing(exc))

        catalog = Catalog.load(args.catalog or os.environ.get("POINTSMAN_CATALOG") or DEFAULT_CATALOG)
        files, left_out = write_config(args.name, catalog, args.url)
        args.output.mkdir(parents=True, exist_ok=True)
        paths = {args.output / name: text for name, text in files.items()}
        there = _replaced_by(paths)
        if there and not args.force:
            return fail(f"{', '.join(map(str, there))} exists. Choose another --output, or --force.")
        for path, text in paths.items():
            kept = _kept(path) if path in there else None
            path.write_text(text, encoding="utf-8")
            if kept is not None:
                # What was shut to others may have held keys, and may get some again.
                path.chmod(kept.stat().st_mode & 0o777)
            print(f"wrote {path}" if kept is None else f"wrote {path}; the old one is {kept}")
        for sentence in left_out:
            print(sentence)
        # Weave Router cannot send one.
        hint = "" if args.name == "weave" else f" {_KEY_HINT}"
        print(_next_step(args.name, keys_of(catalog)) + hint)
        return 0


def _replaced_by(texts: Mapping[Path, str]) -> list[Path]:
    """Return the files that are there with something else in them."""
    return [path for path, text in texts.items() if path.exists() and path.read_bytes() != text.encode()]


def _kept(path: Path) -> Path:
    """Move a file to the first name that no older copy has."""
    kept, number = path.with_name(f"{path.name}.bak"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.bak{number}")
    return path.rename(kept)


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

        try:
            from .environment import Listener, client_lines, profile_lines
        except ModuleNotFoundError as exc:
            return fail(missing(exc))

        if args.name in _OWN_ADDRESS:
            return fail(f"{args.name} listens where its own settings say. {_OWN_ADDRESS[args.name]}")
        gateway = args.name if args.name in _LISTENS else args.gateway
        base_url, key = _LISTENS[gateway]
        listener = Listener(args.base_url or base_url, key)
        if args.name in _LISTENS:
            lines = client_lines(listener)
        else:
            lines = profile_lines(Catalog.load(args.name), gateway, listener)
        print("\n".join(lines))
        return 0
