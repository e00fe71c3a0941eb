"""Speculative decoding: how many tokens a step yields.

m drafts, each accepted with probability p while all before it were: a = (1 - p^(m + 1))/(1 - p), the bonus
token included (Leviathan et al., 2023). Their cost, m + 1 queries a sequence, is in the step-time model.
"""

from scipy.optimize import brentq


def accepted_tokens(drafts: int, probability: float) -> float:
    """a of m drafts. Raises ValueError outside 0 <= p <= 1, m >= 0."""
    if drafts < 0 or not 0 <= probability <= 1:
        raise ValueError(f"drafts must be >= 0 and the probability 0 to 1, not {drafts} and {probability:g}")
    return float(sum(probability**i for i in range(drafts + 1)))


def acceptance_probability(drafts: int, accepted: float) -> float:
    """The p that gives a accepted tokens. Raises ValueError outside 1 <= a <= m + 1."""
    if drafts < 1 or not 1 <= accepted <= drafts + 1:
        raise ValueError(f"with {drafts} drafts a step yields 1 to {drafts + 1} tokens, not {accepted:g}")
    return float(brentq(lambda p: accepted_tokens(drafts, p) - accepted, 0.0, 1.0))
