"""Catalog: all that is known, read once from the data files, and the questions asked of it."""

import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from servebench.catalog.hardware import Cluster, Gpu
from servebench.catalog.hardware_file import ClusterFile, GpuFile
from servebench.catalog.price_file import PriceFile, Retired
from servebench.catalog.prices import PriceSheet
from servebench.catalog.reference_file import ReferenceFile
from servebench.catalog.tier_file import TierFile
from servebench.catalog.tiers import ReferenceModel, Tier
from servebench.catalog.yaml_file import DATA as DATA
from servebench.catalog.yaml_file import files_like, read_catalog_file
from servebench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Catalog:
    """prices holds each model's sheets, oldest first. aliases: other name -> tier or model id.

    retired: a slug that still answers but bills as another model from a date on.
    """

    tiers: Mapping[str, Tier]
    prices: Mapping[str, tuple[PriceSheet, ...]]
    gpus: Mapping[str, Gpu]
    clusters: Mapping[str, Cluster]
    references: Mapping[str, ReferenceModel]
    aliases: Mapping[str, str]
    retired: Mapping[str, Retired]

    def tier(self, id_or_alias: str) -> Tier:
        """Raises UsageError, with the ids that are known."""
        tier = self.tiers.get(self.aliases.get(id_or_alias, id_or_alias))
        if tier is None:
            raise UsageError(f"unknown tier {id_or_alias!r}; known: {', '.join(self.tiers)}")
        return tier

    def gpu(self, gpu_id: str) -> Gpu:
        """Raises UsageError, with the ids that are known."""
        if gpu_id not in self.gpus:
            raise UsageError(f"unknown GPU {gpu_id!r}; known: {', '.join(self.gpus)}")
        return self.gpus[gpu_id]

    def price(self, model_or_alias: str, on: datetime.date | None = None) -> PriceSheet:
        """What the model bills on that day (None: the newest sheet). Raises UsageError where none is."""
        model = self.aliases.get(model_or_alias, model_or_alias)
        redirect = self.retired.get(model)
        if redirect is not None and (on is None or on.isoformat() >= redirect.since):
            model = redirect.to
        sheets = self.prices.get(model, ())
        if not sheets:
            raise UsageError(f"no price is known of {model_or_alias!r}; known: {', '.join(self.prices)}")
        held = [sheet for sheet in sheets if on is None or sheet.as_of <= on.isoformat()]
        if not held:
            raise UsageError(
                f"no price of {model_or_alias!r} is known on {on}: the oldest known is of {sheets[0].as_of}"
            )
        return held[-1]


def load_catalog(directory: Path | None = None) -> Catalog:
    """The catalog of a directory of data files (None: the shipped one), read once per process.

    Raises UsageError with every problem of the first faulty file, or of the files against each other.
    """
    return _load(DATA if directory is None else directory)


@functools.cache
def _load(directory: Path) -> Catalog:
    gpus = read_catalog_file(directory / "gpus.yaml", GpuFile).gpus
    clusters = read_catalog_file(directory / "clusters.yaml", ClusterFile).clusters
    tiers = read_catalog_file(directory / "tiers.yaml", TierFile).tiers
    references = read_catalog_file(directory / "references.yaml", ReferenceFile).references
    price_files = [read_catalog_file(path, PriceFile) for path in files_like(directory, "prices*.yaml")]
    aliases = {alias: tier_id for tier_id, row in tiers.items() for alias in row.aliases}
    sheets: dict[str, list[PriceSheet]] = {}
    retired: dict[str, Retired] = {}
    for file in price_files:
        retired |= {slug: row.to_retired() for slug, row in file.retired.items()}
        for model, price_row in file.prices.items():
            aliases |= dict.fromkeys(price_row.aliases, model)
            sheets.setdefault(model, []).extend(price_row.to_sheets(model))
    catalog = Catalog(
        tiers={tier_id: row.to_tier(tier_id) for tier_id, row in tiers.items()},
        prices={model: tuple(sorted(rows, key=lambda s: s.as_of)) for model, rows in sheets.items()},
        gpus={gpu_id: gpu_row.to_gpu(gpu_id) for gpu_id, gpu_row in gpus.items()},
        clusters={
            cluster_id: cluster_row.to_cluster(cluster_id) for cluster_id, cluster_row in clusters.items()
        },
        references={ref_id: ref_row.to_reference(ref_id) for ref_id, ref_row in references.items()},
        aliases=aliases,
        retired=retired,
    )
    problems = cross_checks(catalog)
    if problems:
        raise UsageError(*problems)
    return catalog


def cross_checks(catalog: Catalog) -> list[str]:
    """What no file can know alone: names that point nowhere, and two sheets of a model on one day."""
    problems = [
        f"tiers.yaml: {tier.id}: gpu_id {tier.serving.gpu_id!r} is not in gpus.yaml"
        for tier in catalog.tiers.values()
        if tier.serving.gpu_id not in catalog.gpus
    ]
    problems += [
        f"clusters.yaml: {cluster.id}: gpu_id {gpu_id!r} is not in gpus.yaml"
        for cluster in catalog.clusters.values()
        for gpu_id in cluster.gpu_ids
        if gpu_id not in catalog.gpus
    ]
    problems += [
        f"prices: {slug} is retired to {redirect.to!r}, which has no price"
        for slug, redirect in catalog.retired.items()
        if redirect.to not in catalog.prices
    ]
    names = {*catalog.tiers, *catalog.prices}
    problems += [f"the alias {alias!r} is an id as well" for alias in catalog.aliases if alias in names]
    for model, sheets in catalog.prices.items():
        days = [sheet.as_of for sheet in sheets]
        if len(set(days)) < len(days):
            problems.append(f"prices: {model} has two sheets as of one day: {', '.join(days)}")
    return problems
