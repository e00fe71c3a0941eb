"""What is known: tiers, prices, GPUs, clusters. Data files, each number with its source and date."""

from servebench.catalog.hardware import Cluster, Gpu
from servebench.catalog.prices import TICKS_PER_USD, PriceSheet, Rates, usd_per_million
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ModelShape, OperatingPoint, ReferenceModel, ServingProfile, Tier

__all__ = [
    "TICKS_PER_USD",
    "Cluster",
    "Gpu",
    "Kind",
    "ModelShape",
    "OperatingPoint",
    "PriceSheet",
    "Rates",
    "ReferenceModel",
    "ServingProfile",
    "Source",
    "Tier",
    "usd_per_million",
]
