"""Claims of the source, each with what counts as reproduced, and the verdict that a measurement earns.

The criteria were fixed before anything was measured. A criterion is an interval; a measurement with its standard error
is reproduced if its range of two standard errors lies inside, not reproduced if it lies outside, and partly
reproduced if it straddles an end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd


class Verdict(StrEnum):
    """What a measurement says of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Claim:
    """One claim of the source.

    Parameters
    ----------
    key : str
        Short name, unique in the registry.
    post : str
        Number of the post.
    statement : str
        The claim in our words.
    source : str
        The source's figure, or "shown" where it has a picture only.
    measure : str
        What is measured, with its unit.
    low, high : float
        The measurement reproduces the claim if it lies between them.
    """

    key: str
    post: str
    statement: str
    source: str
    measure: str
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Checked:
    """A claim with its measurement.

    Parameters
    ----------
    claim : Claim
        The claim.
    measured : float
        The measured figure; not-a-number where the claim does not apply.
    standard_error : float
        Its standard error; 0 for an exact figure.
    verdict : Verdict
        What follows from both.
    """

    claim: Claim
    measured: float
    standard_error: float
    verdict: Verdict


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "I-ivs", "I", "A 96×96 RGB image is a point of a space of 27 648 dimensions.", "27 648",
        "numbers per image", 27_648, 27_648,
    ),
    Claim(
        "I-parameters", "I", "The network has more than ten million parameters.", "> 10 million",
        "parameters of our network with the source's filters", 10_000_001,
    ),
    Claim(
        "I-coarse", "I", "256 latent dimensions keep the overall features of a face.", "shown",
        "share of the coarse structure kept (up to 1/24 per pixel)", 0.9,
    ),
    Claim(
        "I-fine", "I", "256 latent dimensions lose detail.", "shown",
        "share of the fine structure kept (from 1/4 per pixel on)", high=0.5,
    ),
    Claim(
        "I-held-out", "I", "What is learned carries over to images that were not seen.", "shown",
        "PSNR of training images above held-out images, dB", high=1.0,
    ),
    Claim(
        "I-mse", "I", "MSE reconstructs a bit better than BCE.", "a bit",
        "PSNR gained by MSE in a short training, dB", 0.0,
    ),
    Claim(
        "I-arbitrary", "I", "Arbitrary latent vectors do not decode to faces.", "shown",
        "share of them whose round trip is worse than that of 95 % of the held-out images", 0.9,
    ),
)  # fmt: skip
_BY_KEY = {claim.key: claim for claim in CLAIMS}


def check(key: str, measured: float, standard_error: float = 0.0) -> Checked:
    """Give the verdict on a claim.

    Parameters
    ----------
    key : str
        Key of the claim in `CLAIMS`.
    measured : float
        The measured figure, in the claim's unit; not-a-number where the claim does not apply to these images.
    standard_error : float
        Its standard error, at least 0.

    Returns
    -------
    Checked
        The claim, the measurement and the verdict.

    Raises
    ------
    ValueError
        If there is no such claim, or the standard error is negative or not finite.

    Examples
    --------
    >>> check("I-held-out", 0.4, 0.1).verdict.value, check("I-held-out", 0.9, 0.1).verdict.value
    ('reproduced', 'partly reproduced')
    """
    if key not in _BY_KEY:
        raise ValueError(f"there is no claim {key!r}; choose one of {', '.join(_BY_KEY)}.")
    if not 0.0 <= standard_error < math.inf:
        raise ValueError(f"standard_error must be finite and at least 0, not {standard_error}.")
    claim = _BY_KEY[key]
    return Checked(claim, float(measured), float(standard_error), _verdict(claim, measured, standard_error))


def _verdict(claim: Claim, measured: float, standard_error: float) -> Verdict:
    if math.isnan(measured):
        return Verdict.NOT_APPLICABLE
    low, high = measured - 2 * standard_error, measured + 2 * standard_error
    if claim.low <= low and high <= claim.high:
        return Verdict.REPRODUCED
    if high < claim.low or low > claim.high:
        return Verdict.NOT_REPRODUCED
    return Verdict.PARTLY


def claims_table(checked: Iterable[Checked]) -> pd.DataFrame:
    """Lay out claims, measurements and verdicts as a table.

    Parameters
    ----------
    checked : iterable of Checked
        Results of `check`.

    Returns
    -------
    pandas.DataFrame
        One row per claim, indexed by its key.

    Examples
    --------
    >>> claims_table([check("I-ivs", 27_648)]).loc["I-ivs", "measured"]
    '27648'
    """
    rows = [
        {
            "claim": c.claim.key,
            "statement": c.claim.statement,
            "source": c.claim.source,
            "measure": c.claim.measure,
            "reproduced if": _interval(c.claim),
            "measured": _figure(c),
            "verdict": c.verdict.value,
        }
        for c in checked
    ]
    return pd.DataFrame(rows).set_index("claim")


def _interval(claim: Claim) -> str:
    if claim.low == claim.high:
        return f"= {claim.low:g}"
    if claim.high == math.inf:
        return f"≥ {claim.low:g}"
    return f"≤ {claim.high:g}" if claim.low == -math.inf else f"{claim.low:g} to {claim.high:g}"


def _figure(checked: Checked) -> str:
    if math.isnan(checked.measured):
        return "–"
    if not checked.standard_error:
        return f"{checked.measured:.10g}"
    return f"{checked.measured:.3g} ± {checked.standard_error:.2g}"
