"""The mock does what /openapi.json says, by schemathesis: no 500, documented answers, schemas both ways."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.raw_http import ask

# ignored_auth wants any unknown key refused with 401: the mock takes every key, or refuses as xAI does, with
# 400. ensure_resource_availability wants every response kept: the request may say store false.
NOT_CHECKED = "ignored_auth,ensure_resource_availability"
# these would change the server that is being tried, or show its innards
NOT_ASKED = "^/(admin|debug)"


@pytest.fixture(scope="module")
def brief_url() -> Iterator[str]:
    """A mock whose answers are short, whatever is asked for."""
    efforts = {"none": 0.0, "low": 2.0, "medium": 3.0, "high": 4.0, "xhigh": 5.0}
    tier = dataclasses.replace(
        fast_tier(1e-5),
        context_length_tokens=8000,
        output_tokens_mu=1.5,
        output_tokens_sigma=0.5,
        reasoning_tokens=efforts,
    )
    with fast_mock(tier) as mock:
        yield mock.url


@pytest.mark.slow
@pytest.mark.timeout(400)  # some 15 s where the machine is one's own
def test_schemathesis_finds_nothing(brief_url: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{brief_url}/openapi.json"]
    command += ["-H", "Authorization: Bearer any", "--exclude-checks", NOT_CHECKED, "--seed", "1"]
    command += ["--exclude-path-regex", NOT_ASKED]
    command += ["--max-examples", "10", "--request-timeout", "60", "--no-color", "--warnings", "off"]
    command += ["--suppress-health-check", "all", "--report-dir", str(tmp_path), "--continue-on-failure"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=360, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted is not None, done.stdout[-600:]
    assert int(counted[1]) == int(counted[2]) > 500


def test_the_document_names_what_is_served(brief_url: str) -> None:
    status, headers, body = ask(brief_url, "/openapi.json", method="GET", headers={"X": "y"})
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    document = json.loads(body)
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method in operations:
            where = path.replace("{id}", "grok-4.3")
            code = ask(brief_url, where, {} if method == "post" else None, method=method.upper())[0]
            served = (404, 405) if "{id}" not in path else (405,)
            assert code not in served, (method, path)
