"""One workload over several tiers: run after run, each in its own directory, then one table and one page.

Every run is a whole `servebench run`; a matrix that was cut goes on where it stopped, with the same --out.
"""

import dataclasses
import hashlib
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from servebench.catalog.load import load_catalog
from servebench.drive import targets
from servebench.drive.options import free_run_dir
from servebench.drive.start import RunRequest, checked_plan, start
from servebench.errors import ServebenchError, UsageError
from servebench.export.matrix_page import FILE, matrix_html
from servebench.export.matrix_table import matrix_markdown, print_matrix
from servebench.results.exit_code import INTERRUPTED
from servebench.results.files import write_bytes, write_json
from servebench.results.matrix import MATRIX, Matrix, MatrixRun
from servebench.results.matrix_file import read_matrix_file
from servebench.results.run_directory import MANIFEST, SUMMARY, read_manifest, read_run
from servebench.results.summary import summarise_run
from servebench.workload.scenario import load_scenario

# what may differ between the command that began a matrix and the one that goes on with it
_FREE = frozenset({
    "model", "out", "print_json", "quiet", "markdown", "junit", "metrics_port", "processes", "tiers", "yes"
})  # fmt: skip


def run_matrix(request: RunRequest, models: tuple[str, ...]) -> int:
    """Run them all and give the worst exit code. Raises UsageError or OperationError before the first."""
    hashes = _checked(request, models)
    scenario = load_scenario(request.scenario)
    out = free_run_dir(scenario.name, request.seed) if request.out is None else Path(request.out)
    settings = _settings(request)
    done = _earlier(out, settings)
    matrix = Matrix(scenario.name, request.seed, request.target, models, (), settings)
    for number, model in enumerate(models, 1):
        run_dir = out / model
        code = done.get(model)
        if code is None:
            left_usd = _left_usd(request, out)
            if left_usd is not None and left_usd <= 0:
                _say(request, f"tier {number} of {len(models)}: {model} is left out, the budget is used up")
                break
            _say(request, f"tier {number} of {len(models)}: {model}")
            # the budget is the whole matrix's, and one yes holds for all of it
            one = dataclasses.replace(request, max_cost_usd=left_usd, yes=request.yes or number > 1)
            code = _run(one, model, run_dir)
        else:
            _say(request, f"tier {number} of {len(models)}: {model} is there already")
        run = _read(model, run_dir, code, hashes[model])
        matrix = dataclasses.replace(matrix, runs=(*matrix.runs, run))
        write_json(out / MATRIX, matrix.to_json())
        if code == INTERRUPTED:
            break
    return show_matrix(matrix, out, markdown=request.markdown, as_json=request.print_json)


def show_matrix(matrix: Matrix, out: Path, *, markdown: str | None, as_json: bool) -> int:
    """Write the page (and Markdown), print the table, and give the exit code."""
    write_bytes(out / FILE, matrix_html(matrix).encode())
    if markdown is not None:
        write_bytes(Path(markdown), matrix_markdown(matrix).encode())
    print_matrix(matrix, as_json=as_json)
    if not as_json:
        print(f"matrix directory: {out}   page: {out / FILE}")
    return matrix.exit_code


def read_matrix(out: Path) -> Matrix:
    """A matrix again from its directory, each run from its own records. Raises UsageError."""
    found = read_matrix_file(out)
    runs = tuple(
        _read(row.model, out / row.run_dir, row.exit_code, row.workload_hash, summarised=bool(row.classes))
        for row in found.tiers
    )
    return Matrix(found.scenario, found.seed, found.target, tuple(found.planned), runs, found.settings)


def _checked(request: RunRequest, models: tuple[str, ...]) -> dict[str, str]:
    """Every plan is built and every model asked for; gives the hash of each model's arrivals and lengths."""
    for flag, value in (("--master", request.master), ("--web", request.web), ("--junit", request.junit)):
        if value:
            raise UsageError(f"{flag} is for one model: give --model, or leave it out")
    hashes: dict[str, str] = {}
    problems: list[str] = []
    for model in dict.fromkeys(models):
        try:
            plan, _ = checked_plan(dataclasses.replace(request, model=model))
            # the model's name stands in every body; all else is to be the same
            hashes[model] = plan.model_copy(update={"model": "any"}).build().schedule_hash
            if request.target != "mock":
                targets.check_target(targets.resolved(request.target), model, ca_file=request.ca_file)
            else:
                load_catalog().tier(model)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*dict.fromkeys(problems))
    return hashes


def _left_usd(request: RunRequest, out: Path) -> Decimal | None:
    """Of the budget, what the runs so far have neither spent nor kept reserved; those cut short count too."""
    if request.max_cost_usd is None:
        return None
    left_usd = request.max_cost_usd
    for path in out.glob(f"*/{MANIFEST}"):
        budget = read_manifest(path.parent).get("budget") or {}
        left_usd -= Decimal(budget.get("spent_usd", 0)) + Decimal(budget.get("reserved_usd", 0))
    return left_usd


def _settings(request: RunRequest) -> dict[str, Any]:
    """All that makes two commands the same matrix, as JSON has it."""
    asked = {k: v for k, v in dataclasses.asdict(request).items() if k not in _FREE}
    scenario = load_scenario(request.scenario).model_dump_json()
    asked["scenario_hash"] = hashlib.sha256(scenario.encode()).hexdigest()
    made: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    return made


def _earlier(out: Path, settings: dict[str, Any]) -> dict[str, int]:
    """Exit codes of the runs that an earlier command has finished there. UsageError for another matrix."""
    if not out.exists() or not any(out.iterdir()):
        return {}
    if not (out / MATRIX).exists():
        raise UsageError(f"{out} holds something else than a matrix: give another --out")
    found = read_matrix_file(out)
    if found.settings != settings:
        raise UsageError(f"{out} holds a matrix with other settings: give another --out")
    return {
        row.model: row.exit_code
        for row in found.tiers
        if row.exit_code != INTERRUPTED and (out / row.run_dir / SUMMARY).exists()
    }


def _run(request: RunRequest, model: str, run_dir: Path) -> int:
    number = 1
    while run_dir.exists() and any(run_dir.iterdir()):  # what a cut run left is kept, out of the way
        aside = run_dir.with_name(f"{run_dir.name}.cut-{number}")
        number += 1
        if not aside.exists():
            run_dir.rename(aside)
    one = dataclasses.replace(
        request, model=model, tiers=(), out=str(run_dir), print_json=False, markdown=None
    )
    try:
        return start(one, spawn=True, silent=True)
    except ServebenchError as error:
        sys.stderr.write(f"servebench: {model}: {error}\n")
        return error.exit_code


def _read(model: str, run_dir: Path, code: int, workload_hash: str, *, summarised: bool = False) -> MatrixRun:
    """summarised: it came to a summary once. Raises UsageError where it then comes to none."""
    catalog = load_catalog()
    name, status, kind = model, "", None
    try:
        tier = catalog.tier(model)
        name, status = tier.name, tier.status
        kind = catalog.price(model).source.kind
    except UsageError:
        pass  # a model of one's own: without a price it has no dollars
    try:
        summary = summarise_run(read_run(run_dir))
    except ServebenchError:
        if summarised:
            raise
        summary = None
    return MatrixRun(model, name, status, kind, run_dir.name, code, workload_hash, summary)


def _say(request: RunRequest, text: str) -> None:
    if not request.quiet:
        sys.stderr.write(f"{text}\n")
