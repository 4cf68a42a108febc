"""The OpenAPI description as one HTML page: no scripts, nothing loaded from other hosts.

FastAPI's own page loads Swagger UI from a content network, which many places where this runs cannot reach and
should not have to.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}code,pre{font:14px ui-monospace,monospace}"
    "pre{background:#f4f4f4;padding:.75rem;overflow-x:auto}.method{color:#06c}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}pre{background:#222}.method{color:#6bf}}"
)


def render_docs(schema: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI schema."""
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{escape(schema['info'].get('description', ''))} "
        f'The same for machines: <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(_operations(schema))}<h1>Shapes</h1>{''.join(_shapes(schema))}</html>"
    )


def _operations(schema: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f'<h2><code><span class="method">{method.upper()}</span> {escape(path)}</code></h2>'
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "examples" in body:
                for name, example in body["examples"].items():
                    yield f"<p>Body, {escape(name)}</p>{_pre(example['value'])}"
            elif body:
                yield f"<p>Body {_link(body['schema'])}</p>"
            for status, response in operation.get("responses", {}).items():
                shape = response.get("content", {}).get("application/json", {}).get("schema", {})
                yield f"<p><code>{escape(status)}</code> {escape(response.get('description', ''))} {_link(shape)}</p>"


def _shapes(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, shape in schema.get("components", {}).get("schemas", {}).items():
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(shape.get("description", ""))}</p>{_pre(shape)}'


def _link(shape: Mapping[str, Any]) -> str:
    name = escape(str(shape.get("$ref", "")).rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>' if name else ""


def _pre(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
