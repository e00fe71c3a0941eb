"""The process: its flags, its first line, its exits."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mock_server.command import command
from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text
from tests.mock_server.raw_http import ask, chat_body, connect, request_bytes
from tests.mock_server.server_process import mock_process, running_mock


def run(*flags: str, program: str = "mock_server") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", program, *flags], capture_output=True, text=True, timeout=30, check=False
    )


def test_an_unknown_tier_is_one_sentence_and_2() -> None:
    done = run("--tier", "grok-9", "--tier", "grok-4.3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mock_server: unknown tier 'grok-9'; known: grok-4.3")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_sentence_and_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--tier", "grok-4.3", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't listen on 127.0.0.1" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("flags", [("--replicas", "0"), ("--port", "70000"), ("--nonsense",), ("extra",)])
def test_a_bad_flag_is_2(flags: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command, list(flags)).exit_code == 2


def test_a_closed_descriptor_is_refused() -> None:
    done = run("--tier", "grok-4.3", "--exit-with-fd", "77")
    assert done.returncode == 2
    assert "--exit-with-fd 77: not an open file descriptor" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how large its table of open files is")
def test_its_table_of_open_files_need_not_grow_under_load() -> None:
    with mock_process("--tier", "grok-4.3") as (url, process), connect(url) as connection:
        connection.sendall(request_bytes("GET", "/health"))
        assert connection.recv(1000)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (size,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("FDSize:")]
    assert size >= min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_an_interrupt_ends_it_with_0_at_once_though_a_client_stays_connected() -> None:
    with mock_process("--tier", "grok-4.3") as (url, process), connect(url) as connection:
        connection.sendall(request_bytes("GET", "/health"))
        assert connection.recv(1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(1) == 0


def test_a_signal_ends_it_with_0_though_a_stream_is_open() -> None:
    with mock_process("--tier", "grok-4.3") as (url, process), connect(url) as connection:
        body = chat_body(stream=True, max_completion_tokens=100_000)
        connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
        assert connection.recv(1000)
        process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert process.wait(5) == 0
        assert time.monotonic() - start < 2.5
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_stream_that_is_nearly_done_is_finished_at_the_stop() -> None:
    with mock_process("--tier", "grok-4.3") as (url, process), connect(url) as connection:
        body = chat_body(stream=True, max_completion_tokens=40, reasoning_effort="none")
        connection.sendall(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode()))
        seen = connection.recv(1000)
        process.send_signal(signal.SIGTERM)
        while chunk := connection.recv(65536):
            seen += chunk
        assert b"data: [DONE]" in seen
        assert process.wait(5) == 0


def test_it_ends_when_its_owner_closes_the_pipe() -> None:
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mock_server", "--tier", "grok-4.3", "--exit-with-fd", str(read_fd)],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(read_fd,),
    )
    os.close(read_fd)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        assert process.poll() is None
        os.close(write_fd)
        assert process.wait(5) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait()


def test_no_tier_serves_all_and_an_alias_or_a_repetition_serves_one() -> None:
    with running_mock() as url:
        _, _, body = ask(url, "/v1/models", method="GET")
        assert [entry["id"] for entry in json.loads(body)["data"]] == list(load_catalog().tiers)
        _, _, body = ask(url, "/v1/language-models", method="GET")
        assert [entry["id"] for entry in json.loads(body)["models"]] == list(load_catalog().tiers)
        assert "context_length" not in json.loads(body)["models"][0]
    with running_mock("--tier", "grok-4.3-latest", "--tier", "grok-4.3") as url:
        _, _, body = ask(url, "/health", method="GET")
        assert json.loads(body) == {"status": "ok", "models": ["grok-4.3"], "time_scale": 1.0}


def test_servebench_mock_has_the_same_help() -> None:
    module, verb = run("--help"), run("mock", "--help", program="servebench")
    assert module.returncode == verb.returncode == 0
    assert module.stdout.splitlines()[1:] == verb.stdout.splitlines()[1:]


def test_the_seed_moves_the_answers_and_nothing_else_does() -> None:
    texts = []
    for seed in ("1", "1", "2"):
        with running_mock("--tier", "grok-4.3", "--seed", seed) as url:
            body = chat_body("tell me", max_completion_tokens=8, reasoning_effort="none")
            answer = json.loads(ask(url, "/v1/chat/completions", body)[2])
            texts.append(answer["choices"][0]["message"]["content"])
    assert texts[0] == texts[1] != texts[2]


def test_a_profile_is_served_in_place_of_the_catalogs_tier(tmp_path: Path) -> None:
    tier = load_catalog().tier("grok-4.3")
    shorter = tmp_path / "profile.yaml"
    shorter.write_text(profile_text(replace(tier, context_length_tokens=123_000)), encoding="utf-8")
    with running_mock("--profile", str(shorter)) as url:
        listed = json.loads(ask(url, "/v1/models", method="GET")[2])["data"]
    assert [(row["id"], row["context_length"]) for row in listed] == [("grok-4.3", 123_000)]
