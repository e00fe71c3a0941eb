"""The fingerprint of a workload: one hash of all that will be sent and when."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from servebench.workload.columns import SpecColumns


def fingerprint(
    material: bytes, intended_ns: NDArray[np.int64], columns: SpecColumns, *, extra: Iterable[bytes] = ()
) -> str:
    """SHA-256 (hex). material: all that bodies are made of besides their specs (BodyEncoder.material)."""
    digest = hashlib.sha256(material)
    for vector in (
        intended_ns,
        columns.class_index,
        columns.prompt_tokens,
        columns.output_tokens,
        columns.prefix,
        columns.prefix_tokens,
    ):
        digest.update(np.ascontiguousarray(vector, dtype="<i8").tobytes())
    for part in extra:
        digest.update(part)
    return digest.hexdigest()
