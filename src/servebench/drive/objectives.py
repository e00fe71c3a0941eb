"""Which limits a run is held to: gates decide the exit code, objectives decide what a good request is.

Gates are what the user asked for with --slo. Where --slo or --goodput is given it replaces the scenario's own
objectives; else those of the scenario and of its classes stand, for goodput and attainment only.
"""

from dataclasses import dataclass

from servebench.drive.settings import RunSettings
from servebench.results.slo import Goodput, Slo, parse_goodput, parse_slos


@dataclass(frozen=True, slots=True)
class Objectives:
    gates: tuple[Slo, ...]
    slos: tuple[Slo, ...]
    goodput: Goodput | None


def objectives(settings: RunSettings) -> Objectives:
    """Raises UsageError with every bad text."""
    scenario = settings.plan.scenario
    classes = [cls.name for cls in scenario.classes]
    gates = parse_slos(settings.slo, classes=classes)
    if settings.slo or settings.goodput:
        goodput = parse_goodput(settings.goodput) if settings.goodput else None
        return Objectives(gates=gates, slos=gates, goodput=goodput)
    texts = [*scenario.slo]
    for cls in scenario.classes:
        texts += [f"{cls.name}: {text}" for text in cls.slo]
    goodput = parse_goodput(scenario.goodput) if scenario.goodput else None
    return Objectives(gates=(), slos=parse_slos(texts, classes=classes), goodput=goodput)
