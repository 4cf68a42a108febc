"""Whatever the OpenAPI document allows, and what it does not, gets an answer that the document knows; never a fault.

`SCHEMATHESIS_EXAMPLES=2000 pytest tests/serving/test_schemathesis.py` tries more.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .processes import serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
N_EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "25"))


@pytest.fixture(scope="module")
def api(tmp_path_factory, migrated_sqlite):
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, f"sqlite:///{folder / 'records.sqlite'}") as service:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request_gets_an_answer_of_the_document(case):
    case.call_and_validate(checks=CHECKS)
