"""One mock for all tests that only ask, and a fast one."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.mock_server.fast_mock import fast_mock, fast_tier
from tests.mock_server.server_process import running_mock


@pytest.fixture(scope="session")
def mock_url() -> Iterator[str]:
    with running_mock("--tier", "grok-4.3") as url:
        yield url


@pytest.fixture(scope="session")
def fast_url() -> Iterator[str]:
    """Half a millisecond a step."""
    with fast_mock(fast_tier(0.0005)) as mock:
        yield mock.url


@pytest.fixture
def fast_client(fast_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{fast_url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def client(mock_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{mock_url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client
