"""What is written is read back, whatever was cut off and however the parts were dealt."""

import dataclasses
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from array import array
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servebench.errors import OperationError, UsageError
from servebench.meter.record import Outcome, RequestRecord
from servebench.results.chunk_times import LOST
from servebench.results.files import write_bytes
from servebench.results.parts import PartWriter, gather_parts
from servebench.results.run_directory import default_run_dir, gather_run, read_run, write_manifest
from tests.results import made_run
from tests.results.records import made_runs


def _same(run_dir: Path, made: made_run.Made) -> None:
    run = read_run(run_dir)
    assert run.records == [record for record, _ in made]
    for position, (_, times) in enumerate(made):
        assert run.chunk_us(position).tolist() == times.tolist()


@given(n=st.integers(1, 60), parts=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_parts_read_and_gathered_give_the_same_run(
    tmp_path_factory: pytest.TempPathFactory, n: int, parts: int, seed: int
) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    made = made_run.make(n, seed=seed, failed_share=0.2, chunks=1 + seed % 7)
    made_run.write(run_dir, made, parts=parts)
    _same(run_dir, made)
    found = gather_parts(run_dir)
    assert (found.parts, found.records, found.torn, found.duplicates) == (parts, n, 0, 0)
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "chunks.i32",
        "manifest.json",
        "requests.jsonl",
    ]
    _same(run_dir, made)


def test_gathering_again_changes_nothing(tmp_path: Path) -> None:
    made = made_run.make(20)
    made_run.write(tmp_path, made)
    gather_parts(tmp_path)
    assert gather_parts(tmp_path).records == 0
    _same(tmp_path, made)


def test_gzipped_files_are_read_as_they_are(tmp_path: Path) -> None:
    made = made_run.make(20, failed_share=0.2)
    made_run.write(tmp_path, made)
    gather_parts(tmp_path)
    for name in ("requests.jsonl", "chunks.i32"):
        path = tmp_path / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    _same(tmp_path, made)


def test_a_killed_writer_loses_nothing_that_had_returned(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.results import made_run\n"
        "from servebench.results.parts import PartWriter\n"
        "writer = PartWriter(Path(sys.argv[1]), 0)\n"
        "for record, times in made_run.make(37): writer.write(record, times)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -9
    write_manifest(tmp_path, {})
    _same(tmp_path, made_run.make(37))


@pytest.mark.parametrize("gathered", [False, True])
def test_a_torn_last_line_is_dropped_and_counted(tmp_path: Path, gathered: bool) -> None:
    made = made_run.make(10)
    made_run.write(tmp_path, made, parts=1)
    path = tmp_path / "parts" / "requests.0.jsonl"
    path.write_bytes(path.read_bytes()[:-25])
    if gathered:
        assert gather_parts(tmp_path).torn == 1
    else:
        assert read_run(tmp_path).torn == 1
    _same(tmp_path, made[:-1])


def test_chunk_times_that_are_missing_are_marked_not_shifted(tmp_path: Path) -> None:
    made = made_run.make(10, chunks=4)
    made_run.write(tmp_path, made, parts=1)
    path = tmp_path / "parts" / "chunks.0.i32"
    path.write_bytes(path.read_bytes()[:-6])  # one and a half times of the last record
    gather_parts(tmp_path)
    run = read_run(tmp_path)
    assert run.chunk_us(8).tolist() == made[8][1].tolist()
    assert run.chunk_us(9).tolist() == [*made[9][1][:2].tolist(), LOST, LOST]
    assert run.chunks.lost == 2
    assert LOST not in run.chunks.gaps()[0]


def test_of_two_records_of_one_id_the_sent_one_stays(tmp_path: Path) -> None:
    made = made_run.make(4)
    made_run.write(tmp_path, made, parts=1)
    lost = PartWriter(tmp_path, 1)
    lost.write(made_run.failed(2, "chat", made[2][0].intended_ns, None, Outcome.UNSENT), array("i"))
    lost.close()
    _same(tmp_path, made)
    assert gather_parts(tmp_path).duplicates == 1
    _same(tmp_path, made)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    made_run.write(tmp_path, made_run.make(5), parts=1)
    gather_parts(tmp_path)
    lines = (tmp_path / "requests.jsonl").read_text().splitlines(keepends=True)
    lines[3] = '{"id": 3}\n'
    (tmp_path / "requests.jsonl").write_text("".join(lines))
    with pytest.raises(UsageError, match=r"requests\.jsonl line 4 is broken"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("manifest.json", "manifest.json is missing"), ("requests.jsonl", "requests.jsonl is missing")],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    made_run.write(tmp_path, made_run.make(3))
    gather_parts(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=message):
        read_run(tmp_path)


def test_no_directory_and_no_json_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        read_run(tmp_path)


def test_a_disk_that_takes_no_more_leaves_whole_records(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: write() fails after a part of the bytes either way."""
    made = made_run.make(40, chunks=50)
    pid = os.fork()
    if pid == 0:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5001, 5001))
        writer = PartWriter(tmp_path, 0)
        failures = 0
        for record, times in made:
            try:
                writer.write(record, times)
            except OperationError:
                failures += 1
        os._exit(0 if failures else 1)
    assert os.waitpid(pid, 0)[1] == 0
    write_manifest(tmp_path, {})
    run = read_run(tmp_path)
    assert 0 < len(run.records) < 40
    assert run.torn == 0
    by_id = {record.id: times for record, times in made}
    for position, record in enumerate(run.records):
        assert run.chunk_us(position).tolist() == by_id[record.id].tolist()


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    (tmp_path / "parts").mkdir()
    writer = PartWriter(tmp_path, 3)
    writer._lines.close()
    writer._lines = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    record, times = made_run.make(1)[0]
    for _ in range(2):
        with pytest.raises(OperationError, match="the disk is full"):
            writer.write(record, times)
    writer.close()


def test_a_part_is_never_written_over(tmp_path: Path) -> None:
    PartWriter(tmp_path, 0).close()
    with pytest.raises(OperationError, match="could not be written"):
        PartWriter(tmp_path, 0)


def test_chunk_times_must_be_as_many_as_the_record_says(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, 0)
    record, times = made_run.make(1)[0]
    with pytest.raises(ValueError, match="chunk times"):
        writer.write(record, times[:-1])
    writer.close()


def test_the_default_name_is_in_utc() -> None:
    started = datetime(2026, 11, 24, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert default_run_dir(started, "chat", 7) == Path("runs/20261123T230203Z-chat-7")
    assert (
        default_run_dir(started.astimezone(UTC), "my/own file.yaml", 7).name == "20261123T230203Z-own-file-7"
    )


def test_a_manifest_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "an-unusual-value")
    write_manifest(
        tmp_path, {"command": ["run", "--note", "key an-unusual-value"], "api_key": "x" * 20, "seed": 1}
    )
    text = (tmp_path / "manifest.json").read_text()
    assert "an-unusual-value" not in text
    assert "x" * 20 not in text
    assert '"seed": 1' in text


@given(made=made_runs(), parts=st.integers(1, 3), again=st.booleans())
@settings(deadline=None, max_examples=40)
def test_gathering_and_reading_at_once_is_the_same(made: made_run.Made, parts: int, again: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        one, other = Path(scratch) / "one", Path(scratch) / "other"
        for run_dir in (one, other):
            made_run.write(run_dir, made, parts=parts)
            if again and made:  # a second record of an id, as a part shipped twice leaves it
                writer = PartWriter(run_dir, parts)
                writer.write(*made[0])
                writer.close()
        gather_parts(one)
        plain, at_once = read_run(one), gather_run(other)
        assert at_once.records == plain.records
        assert at_once.chunks.values.tolist() == plain.chunks.values.tolist()
        assert at_once.chunks.offsets.tolist() == plain.chunks.offsets.tolist()
        for name in ("requests.jsonl", "chunks.i32"):
            assert (other / name).read_bytes() == (one / name).read_bytes()
        assert gather_run(other).records == plain.records  # nothing left to gather: it reads


def test_what_is_no_plain_file_is_written_into(tmp_path: Path) -> None:
    """/dev/stdout, or a link to a file that others hold open: a replacement would cut them off."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(tmp_path / "pipe", b"told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
    with pytest.raises(OperationError, match="could not be written"):
        write_bytes(real / "under", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "real"]


@given(made=made_runs())
@settings(deadline=None, max_examples=40)
def test_a_row_of_any_order_and_of_another_version_is_the_same_record(made: made_run.Made) -> None:
    for record, _ in made:
        row = json.loads(json.dumps(record.to_json()))
        assert RequestRecord.from_json(row) == record
        assert RequestRecord.from_json({"newer": 1, **dict(reversed(row.items()))}) == record
        older = {key: value for key, value in row.items() if key != "sent_prompt_tokens"}
        assert RequestRecord.from_json(older) == dataclasses.replace(record, sent_prompt_tokens=None)
        with pytest.raises(KeyError):
            RequestRecord.from_json({key: value for key, value in row.items() if key != "id"})
