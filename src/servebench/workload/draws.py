"""Draws by id: a uniform number that depends on (seed, purpose, id) alone, so that no worker draws for
another.

Philox is counter-based (Salmon et al., SC'11): block k of four numbers is a function of the key and k. The
key is a hash of seed and purpose, and id takes lane id % 4 of block id // 4, so one id and a whole range
give the same.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_LANES = 4  # 64-bit numbers in a Philox-4x64 block


def _key(seed: int, purpose: str) -> int:
    return int.from_bytes(blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest(), "little")


def uniforms(seed: int, purpose: str, start: int, count: int) -> NDArray[np.float64]:
    """Uniform numbers in the open interval (0, 1) of the ids start .. start + count - 1; shape (count,)."""
    block, lane = divmod(start, _LANES)
    raw = np.random.Philox(key=_key(seed, purpose), counter=block).random_raw(lane + count)[lane:]
    # the half step keeps 0 and 1 out, where a quantile may be infinite
    return ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def uniform(seed: int, purpose: str, id: int) -> float:
    """The one number of this id."""
    return float(uniforms(seed, purpose, id, 1)[0])


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for what every worker draws whole (the arrivals), keyed apart from the draws by id."""
    return np.random.Generator(np.random.Philox(key=_key(seed, purpose)))
