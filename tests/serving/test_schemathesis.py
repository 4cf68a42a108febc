"""Whatever the OpenAPI document allows, and what it does not, gets an answer that the document knows; never a fault.

`SCHEMATHESIS_EXAMPLES=2000 pytest tests/serving/test_schemathesis.py` tries more.
"""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pointsman.serving.openapi_commands import DOCUMENT

from .processes import serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
N_EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "25"))
PATHS = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]


@pytest.fixture(scope="module")
def api(tmp_path_factory, migrated_sqlite):
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, f"sqlite:///{folder / 'records.sqlite'}") as service:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")


@pytest.mark.parametrize(("method", "path"), [(method, path) for path in PATHS for method in PATHS[path]])
def test_any_request_gets_an_answer_of_the_document(api, method, path):
    @settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method.upper()].as_strategy())
    def check(case):
        case.call_and_validate(checks=CHECKS)

    check()
