"""`pointsman openapi` prints the OpenAPI document of the service; `openapi.json` beside this file is the same, kept."""

import argparse
import json
from pathlib import Path
from typing import Final

#: Checked in, so that a change of the API shows in a review and clients can be generated without a running service.
DOCUMENT: Final = Path(__file__).with_name("openapi.json")


def openapi_document() -> str:
    """Return the document as the service gives it at `/openapi.json`, indented; nothing is started for it."""
    from .api_schema import api_schema
    from .app import create_app
    from .settings import Settings

    # Of the settings none shapes a route, and a mistake in the environment is no matter here.
    schema = api_schema(create_app(Settings.model_construct()))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class OpenApiCommand:
    """Prints the document."""

    help = "print the OpenAPI document of the service"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, help="file to write to (default: standard output)")

    def run(self, args: argparse.Namespace) -> int:
        """Print or write it."""
        document = openapi_document()
        if args.output is None:
            print(document, end="")
        else:
            args.output.write_text(document, encoding="utf-8")
            print(f"wrote {args.output}")
        return 0
