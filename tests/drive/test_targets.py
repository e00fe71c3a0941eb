"""Which URL, which key: a real key goes to xAI over TLS and nowhere else."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from servebench.drive.targets import DUMMY_KEY, api_key, check_target, is_xai, normalise_url, time_scale
from servebench.errors import OperationError, UsageError
from tests.mock_server.server_process import running_mock


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("https://api.x.ai/v1", "https://api.x.ai"),
        ("https://gateway.example/llm/v1", "https://gateway.example/llm"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_urls_are_normalised(given: str, wanted: str) -> None:
    assert normalise_url(given) == wanted


@pytest.mark.parametrize("bad", ["ftp://x", "http://", "http://h:99999", "http://user:secret@host"])
def test_bad_urls_are_refused_in_a_sentence_that_holds_no_password(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise_url(bad)
    assert "secret" not in str(caught.value)


def test_the_real_key_goes_to_xai_over_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "xai-planted")
    monkeypatch.delenv("SERVEBENCH_API_KEY", raising=False)
    assert api_key("https://api.x.ai") == "xai-planted"
    assert api_key("https://us.api.x.ai") == "xai-planted"
    for other in (
        "http://api.x.ai",
        "https://api.x.ai.evil.example",
        "https://notx.ai",
        "http://127.0.0.1:1",
    ):
        assert api_key(other) == DUMMY_KEY, other


def test_no_key_for_xai_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="XAI_API_KEY"):
        api_key("https://api.x.ai")


def test_xai_is_told_from_its_look_alikes() -> None:
    assert is_xai("https://x.ai")
    assert not is_xai("https://max.ai")


class _Models(http.server.BaseHTTPRequestHandler):
    status = 200
    location = ""
    body = b'{"object": "list", "data": [{"id": "grok-4.3", "aliases": ["grok-latest"]}]}'

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def models_server() -> Iterator[tuple[str, type[_Models]]]:
    handler = type("Handler", (_Models,), {})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_check_passes_for_a_listed_model_and_its_alias(models_server: tuple[str, type[_Models]]) -> None:
    url, _ = models_server
    check_target(url, "grok-4.3")
    check_target(url, "grok-latest")


def test_check_names_what_is_listed(models_server: tuple[str, type[_Models]]) -> None:
    url, _ = models_server
    with pytest.raises(UsageError, match=r"does not serve model 'grok-9'.*grok-4\.3"):
        check_target(url, "grok-9")


def test_check_says_that_the_key_was_refused(models_server: tuple[str, type[_Models]]) -> None:
    url, handler = models_server
    handler.status = 401
    with pytest.raises(UsageError, match="refused the key"):
        check_target(url, "grok-4.3")


def test_check_says_where_a_redirect_leads(models_server: tuple[str, type[_Models]]) -> None:
    url, handler = models_server
    handler.status = 308
    handler.location = "https://other.example/v1/models"
    with pytest.raises(UsageError, match=r"redirects to https://other\.example/v1/models"):
        check_target(url, "grok-4.3")


def test_check_says_that_the_target_is_down() -> None:
    from servebench.drive.launch import free_port

    with pytest.raises(OperationError, match="does not answer"):
        check_target(f"http://127.0.0.1:{free_port()}", "grok-4.3")


def test_a_mock_says_how_fast_its_time_goes() -> None:
    with running_mock("--tier", "grok-4.3", "--time-scale", "2.5") as url:
        assert time_scale(url) == 2.5
