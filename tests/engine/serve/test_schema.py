"""The server does what its own OpenAPI schema says, for whatever requests schemathesis thinks of."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra: test)")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

ROUTES = [
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /v1/models",
    "GET /v1/index",
    "GET /v1/sounds/{position}/audio",
    "GET /v1/sounds/{position}/peaks",
    "POST /v1/embeddings",
    "POST /v1/embeddings/files",
    "POST /v1/rerank",
    "POST /v1/search",
    "POST /v1/search/file",
]


@pytest.fixture(scope="module")
def operations(served):
    schema = schemathesis.openapi.from_url(served.url + "/openapi.json")
    return {result.ok().label: result.ok() for result in schema.get_all_operations()}


def test_every_route_is_tried(operations):
    assert sorted(operations) == sorted(ROUTES)


CASES = [(route, GenerationMode.POSITIVE) for route in ROUTES] + [
    # The others have nothing that could be wrong.
    (route, GenerationMode.NEGATIVE)
    for route in ROUTES
    if "POST" in route or "{" in route
]


@pytest.mark.parametrize("route, mode", CASES, ids=lambda value: getattr(value, "value", value))
def test_answers_keep_to_the_schema(operations, route, mode):
    """Schemathesis' own checks: no 5xx, only statuses and bodies that the schema has, wrong requests refused.

    One is left out: a request may fit the schema and still hold an empty text or a file that is no sound.
    """

    @given(case=operations[route].as_strategy(generation_mode=mode))
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def every(case):
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    every()
