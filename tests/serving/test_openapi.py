"""The OpenAPI document that is kept is the one that the service gives, and holds together."""

import json
import re

from pointsman.classifier.commands import main
from pointsman.serving.openapi_commands import DOCUMENT, openapi_document


def test_document_that_is_kept_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == openapi_document(), "the API changed; run: make openapi"


def test_document_is_what_the_service_gives(client):
    assert client.get("/openapi.json").json() == json.loads(DOCUMENT.read_text(encoding="utf-8"))


def test_command_prints_or_writes_it(tmp_path, capsys):
    assert main(["openapi"]) == 0
    printed = capsys.readouterr().out
    assert main(["openapi", "--output", str(tmp_path / "api.json")]) == 0
    assert printed == (tmp_path / "api.json").read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8")


def test_every_reference_leads_somewhere():
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    names = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert names
    assert {
        name for name in names if name.removeprefix("#/components/schemas/") not in document["components"]["schemas"]
    } == set()


def test_bodies_that_routes_read_themselves_are_named():
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    bodies = {
        path: paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/v1/classify", "/v1/feedback")
    }
    assert bodies == {
        "/v1/classify": {"$ref": "#/components/schemas/ClassifyRequest"},
        "/v1/feedback": {"$ref": "#/components/schemas/FeedbackRequest"},
    }
