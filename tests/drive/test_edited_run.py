"""A run directory that was edited, cut off or is of another version: a sentence and exit 2, or a report.

Of a real run: each field of its manifest and of a record of each kind is given values of other types.
"""

import contextlib
import copy
import gzip
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servebench import cli

pytestmark = pytest.mark.slow
SESSIONS = str(Path(__file__).parent / "sessions.yaml")
ENDED = (0, 3, 4, 5, 6, 130)  # what a run may end with
WRONG = (None, "x", -1, 1e300, True, ["x"], {"x": None})


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions, a gate, a limit, a budget and warmed connections, so that the manifest is full."""
    place = tmp_path_factory.mktemp("real")
    done = subprocess.run(
        [
            sys.executable, "-m", "servebench", "run", SESSIONS, "--rate", "8", "--duration", "2", "--quiet",
            "--slo", "ttft p50 < 5s", "--goodput", "ttft:5000", "--max-cost", "5", "--warm-connections", "2",
            "--processes", "1", "--grace", "5", "--out", "r",
        ],
        cwd=place, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in ENDED, done.stderr
    return place / "r"


@pytest.fixture
def run_dir(real: Path, tmp_path: Path) -> Path:
    for name in ("manifest.json", "requests.jsonl", "chunks.i32"):
        shutil.copy(real / name, tmp_path / name)
    return tmp_path


def servebench(*arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the verb, in this process; what is not turned into words is raised."""
    out, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["servebench", *arguments])
        with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0), out.getvalue(), said.getvalue()


def report(run_dir: Path) -> tuple[int, str, str]:
    """All that is made of a run again."""
    flags = [f"--{kind}={run_dir / kind}" for kind in ("markdown", "junit", "openmetrics")]
    return servebench("report", str(run_dir), "--html", "--json", *flags)


def check(run_dir: Path, name: str, what: str) -> bool:
    """A report like a run's, or exit 2 with sentences that name the file. Whether it was a report."""
    try:
        code, shown, said = report(run_dir)
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    if code in ENDED:
        assert json.loads(shown)["classes"]["all"]["offered"] > 0, what
        assert said == "", what
        return True
    assert code == 2, what
    assert shown == "", what
    lines = said.splitlines()
    assert lines, what
    for line in lines:
        assert line.startswith("servebench: "), (what, line)
        assert name in line, (what, line)
        assert len(line) < 400, (what, line)
    return False


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each field of a JSON value; of a list its first item."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:1]) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


def edited(tree: Any, place: tuple[Any, ...], edit: Callable[[Any, Any], None]) -> Any:
    tree = copy.deepcopy(tree)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    edit(parent, place[-1])
    return tree


def put(value: Any) -> Callable[[Any, Any], None]:
    def edit(parent: Any, key: Any) -> None:
        parent[key] = value

    return edit


def remove(parent: Any, key: Any) -> None:
    del parent[key]


def test_the_run_itself_is_reported(run_dir: Path) -> None:
    assert check(run_dir, "manifest.json", "as it was")


def test_no_edit_of_the_manifest_gives_a_traceback(run_dir: Path) -> None:
    path = run_dir / "manifest.json"
    manifest = json.loads(path.read_text())
    reports = refusals = 0
    for place in places(manifest):
        for edit, what in ((remove, "removed"), *((put(value), repr(value)) for value in WRONG)):
            path.write_text(json.dumps(edited(manifest, place, edit)))
            if check(run_dir, "manifest.json", f"{'.'.join(map(str, place))} {what}"):
                reports += 1
            else:
                refusals += 1
    assert refusals > 300, "wrong types of what is read are refused"
    assert reports > 300, "what nobody reads is left alone"


def test_no_edit_of_a_record_gives_a_traceback(run_dir: Path) -> None:
    """One that succeeded, one that failed, and one that was never sent."""
    path = run_dir / "requests.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    unsent = {"sent_s", "first_token_s", "first_visible_s", "last_token_s", "status", "request_id"}
    rows[1] |= {"outcome": "http_5xx", "status": 503}
    rows[2] |= {**dict.fromkeys(unsent), "outcome": "unsent", "session_state": None}
    reports = refusals = 0
    for number in range(3):
        for place in places(rows[number]):
            for edit, what in ((remove, "removed"), *((put(value), repr(value)) for value in WRONG)):
                rest = [*rows[:number], edited(rows[number], place, edit), *rows[number + 1 :]]
                path.write_text("".join(json.dumps(row) + "\n" for row in rest))
                if check(run_dir, f"requests.jsonl line {number + 1} ", f"{number} {place} {what}"):
                    reports += 1
                else:
                    refusals += 1
    assert refusals > 400
    assert reports > 100


@pytest.mark.parametrize("line", ["3", "null", '"x"', "[]", "{}", "x", ""])
def test_a_line_that_is_no_record_is_named(run_dir: Path, line: str) -> None:
    path = run_dir / "requests.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], line + "\n", *lines[5:]]))
    assert not check(run_dir, "requests.jsonl line 5 is broken", line)


def test_files_that_are_cut_empty_or_gone(run_dir: Path) -> None:
    """A manifest that is not whole is refused; of records and chunk times what is there is shown."""
    for name in ("manifest.json", "requests.jsonl", "chunks.i32"):
        path = run_dir / name
        whole = path.read_bytes()
        for share in (0.0, 0.3, 0.999):
            path.write_bytes(whole[: int(len(whole) * share)])
            if name == "requests.jsonl" and not share:
                code, shown, said = report(run_dir)
                assert (code, said) == (5, ""), "no request was recorded: INVALID"
                assert "no request was recorded" in json.loads(shown)["invalid_reasons"]
            else:
                assert check(run_dir, name, f"{name} {share}") == (name != "manifest.json")
        path.unlink()
        assert check(run_dir, name, f"{name} is gone") == (name == "chunks.i32")
        path.mkdir()
        assert not check(run_dir, name, f"{name} is a directory")
        path.rmdir()
        path.write_bytes(whole)


def test_packed_files_that_are_broken(run_dir: Path) -> None:
    for name in ("requests.jsonl", "chunks.i32"):
        whole = (run_dir / name).read_bytes()
        (run_dir / name).unlink()
        packed = gzip.compress(whole)
        spoiled = bytearray(packed)
        spoiled[20:30] = b"0123456789"
        for content in (b"", packed[:-9], bytes(spoiled), b"no gzip at all"):
            (run_dir / f"{name}.gz").write_bytes(content)
            if name == "requests.jsonl" and not content:
                assert report(run_dir)[0] == 5
            else:
                assert not check(run_dir, name, f"{name} {content[:30]!r}") or not content
        (run_dir / f"{name}.gz").write_bytes(packed)
        assert check(run_dir, name, "whole again")


@pytest.mark.parametrize("schema", [2, 0, "1", None, 1.0])
def test_another_version_is_told_by_its_schema(run_dir: Path, schema: Any) -> None:
    path = run_dir / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema}))
    code, shown, said = report(run_dir)
    assert (code, shown) == (2, "")
    assert f"{path}: schema: this servebench reads 1, not {schema!r}" in said


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "warmup_s",
            "abc",
            "warmup_s: input should be a valid number, not 'abc'; put back what was",
        ),
        ("slo", ["ttft p99 < soon"], 'SLO "ttft p99 < soon" is not understood'),
        ("goodput", ["ttft:x"], 'goodput "ttft:x" is not understood'),
        ("shards", {"0": {"health": {"missing_stamps": "many"}}}, "shards.0.health.missing_stamps: input"),
    ],
)
def test_calibrate_says_the_same_of_an_edited_run(run_dir: Path, key: str, value: Any, words: str) -> None:
    path = run_dir / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    for verb in (("report", str(run_dir)), ("calibrate", str(run_dir))):
        code, shown, said = servebench(*verb)
        assert (code, shown) == (2, "")
        assert f"servebench: {path}: " in said
        assert words in said
        assert len(said.splitlines()) == 1
