"""The OpenAPI description of the service, mended where FastAPI's own says more or less than is true."""

import copy
import json
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

_SHAPES: Final = "#/components/schemas/"


def body_of(shape: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a JSON body that a route reads itself, for its `openapi_extra`."""
    schema = shape.model_json_schema(ref_template=_SHAPES + "{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def api_schema(app: FastAPI) -> dict[str, Any]:
    """Return the description, with every named shape among the components.

    Left out is the 422 that FastAPI adds to every route with a parameter. Bodies of `body_of` become components, and
    what they refer to stands beside them.
    """
    schema = copy.deepcopy(app.openapi())
    shapes = schema["components"]["schemas"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            if "HTTPValidationError" in json.dumps(operation["responses"].get("422")):
                del operation["responses"]["422"]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "title" in content.get("schema", {}):
                body = content["schema"]
                shapes |= body.pop("$defs", {}) | {body["title"]: body}
                content["schema"] = {"$ref": _SHAPES + body["title"]}
    for name in ("HTTPValidationError", "ValidationError"):
        shapes.pop(name, None)
    return schema | {"components": schema["components"] | {"schemas": dict(sorted(shapes.items()))}}
