"""Claims of the source, each with what counts as reproduced, and the verdict that a measurement earns.

The criteria were fixed before anything was measured. A criterion is an interval; a measurement with its standard error
is reproduced if its range of two standard errors lies inside, not reproduced if it lies outside, and partly
reproduced if it straddles an end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

MIME = "application/vnd.aelib.claims+json"
"""Kind of the output, beside text and HTML, in which a table of claims leaves its records in a notebook."""


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


class ClaimsTable(pd.DataFrame):
    """A table of claims that shows itself to a reader as any other, and to a program as a list of records."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return what is displayed beside the table's own text and HTML."""
        return {MIME: self.attrs[MIME]} if MIME in self.attrs else {}

    def _repr_html_(self) -> str:
        """Return the table as HTML, with statements in full: pandas would cut them after fifty letters."""
        with pd.option_context("display.max_colwidth", None):
            return self.to_html()


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
    Claim(
        "II-bell", "II", "The number density of every component is a bell curve.", "shown",
        "share of components whose Gaussian fit explains at least 95 % (R²)", 0.9,
    ),
    Claim(
        "II-narrow", "II", "Most components are centred near zero.", "shown",
        "share of components with |centre| below half their half-width", 0.8,
    ),
    Claim(
        "II-dominant", "II", "About 20 components dominate: they are wider or off-centre.", "about 20",
        "components whose rms lies above Tukey's upper fence", 10, 30,
    ),
    Claim(
        "II-anisotropic", "II", "The cloud is anisotropic: a few components are much wider than the rest.", "shown",
        "largest half-width over the median half-width", 2.0,
    ),
    Claim(
        "II-off-centre", "II", "The centre of the cloud lies off the origin.", "shown",
        "distance of the centre from the origin over the cloud's rms radius", 0.25,
    ),
    Claim(
        "II-shell", "II", "Uniform vectors fill a thin shell of radius b·√(N/3)·(1 − 1/(10N)).", "13.85 at b = 1.5",
        "mean length of simulated vectors over the formula's", 0.999, 1.001,
    ),
    Claim(
        "II-b", "II", "Only boxes with 1 ≤ b ≤ 2 give vectors as long as the data's.", "1.5",
        "b of the box whose vectors are as long as the data's on average", 1.0, 2.0,
    ),
    Claim(
        "III-range", "III", "Pearson coefficients lie between 0 and 1.", "[0, 1]",
        "smallest coefficient of the correlation matrix", 0.0,
    ),
    Claim(
        "III-weak", "III", "Most pairs are hardly correlated.", "4.5 % of the pairs above 0.1",
        "percentage of pairs with |ρ| above 0.1", 2.25, 9.0,
    ),
    Claim(
        "III-strong", "III", "Very few pairs are strongly correlated.", "0.049 % of the pairs above 0.5",
        "percentage of pairs with |ρ| above 0.5", 0.0245, 0.098,
    ),
    Claim(
        "III-strongest", "III", "The strongest pairs are nearly proportional.", "0.846",
        "largest |ρ| of a pair", 0.7,
    ),
    Claim(
        "III-dominant", "III", "Nearly all of the 16 strongest pairs are among the dominant components.", "nearly all",
        "share of them with both components dominant", 0.75,
    ),
    Claim(
        "III-memory", "III", "The correlation matrix of all points takes too much memory.", "crashed",
        "memory for the matrix of all points, beyond the points, GB", 8.0,
    ),
    Claim(
        "IV-border", "IV", "The origin lies in the border region of the cloud.", "stated",
        "share of the z-points nearer to the centre than the origin (Mahalanobis)", 0.9,
    ),
    Claim(
        "IV-direction", "IV", "Uniform vectors of the right length have the wrong direction.", "stated",
        "share of them farther out than 99 % of the z-points (Mahalanobis)", 0.9,
    ),
    Claim(
        "IV-empty", "IV", "Around uniform vectors of the right length there is no data.", "ours",
        "distance to the nearest z-point over that of held-out z-points (medians)", 1.2,
    ),
    Claim(
        "V-no-faces", "V", "Uniform random vectors decode to no reasonable faces.", "stated",
        "precision of their images (share near images of z-points), best b from 1 to 2", high=0.1,
    ),
    Claim(
        "V-any-b", "V", "No b makes faces of uniform vectors.", "stated",
        "least Fréchet distance over b, over that of N(μ, Σ)", 3.0,
    ),
    Claim(
        "VI-origin", "VI", "Near the origin the decoder makes no faces.", "shown",
        "share of held-out images nearer to another image than the decoded origin", 0.95,
    ),
    Claim(
        "VI-centre", "VI", "At the centre of the cloud the decoder makes an average face.", "shown",
        "share of held-out images nearer to another image than the decoded centre", high=0.95,
    ),
    Claim(
        "VI-variety", "VI", "Variety grows with the distance from the centre.", "shown",
        "rank correlation of distance and difference from the average face, over walks", 0.8,
    ),
    Claim(
        "VI-disturbance", "VI", "Disturbances grow towards the border.", "shown",
        "rank correlation of distance and round-trip error, over walks", 0.5,
    ),
    Claim(
        "VII-faces", "VII", "Points within each component's own range give the first faces.", "stated",
        "Fréchet distance, best k, over that of the best uniform box", high=0.5,
    ),
    Claim(
        "VII-disturbed", "VII", "Their faces are disturbed, since correlations are ignored.", "stated",
        "Fréchet distance, best k, over that of N(μ, Σ)", 1.5,
    ),
    Claim(
        "VIII-gauss", "VIII", "The dominant components are well fitted by Gaussians.", "shown",
        "median R² of their fits", 0.97,
    ),
    Claim(
        "VIII-core", "VIII", "Ellipses of 2.5 σ describe the core of the cloud in its planes.", "shown",
        "share of the points inside, mean over planes of dominant components", 0.94, 0.97,
    ),
    Claim(
        "VIII-shape", "VIII", "Contours of the number density are ellipses.", "shown",
        "median departure of a contour from its ellipse, dominant planes, %", high=10.0,
    ),
    Claim(
        "VIII-normal", "VIII", "The cloud is nearly a multivariate normal distribution.", "shown",
        "share of held-out points inside the 95 % ellipsoid", 0.93, 0.97,
    ),
    Claim(
        "IX-cut-strict", "IX", "The outlier cut at 1.35 FWHM keeps seven in ten points.", "0.718",
        "share of the points kept", 0.62, 0.82,
    ),
    Claim(
        "IX-cut-mild", "IX", "The outlier cut at 1.8 FWHM keeps nearly all points.", "0.965",
        "share of the points kept", 0.93, 0.99,
    ),
    Claim(
        "IX-tails", "IX", "The tails are heavier than normal ones.", "0.965 against 0.994",
        "share lost at 1.8 FWHM over that of a normal cloud", 1.5,
    ),
    Claim(
        "IX-80", "IX", "About 120 principal components carry 80 % of the variance.", "120",
        "principal components for 80 % of the variance", 80, 160,
    ),
    Claim(
        "IX-no-dominant", "IX", "No principal component dominates.", "shown",
        "share of the variance on the first", high=0.2,
    ),
    Claim(
        "IX-decorrelated", "IX", "Principal components are uncorrelated.", "below 2e-7",
        "largest off-diagonal correlation", high=2e-7,
    ),
    Claim(
        "IX-gauss", "IX", "The number density of every principal component is a bell curve.", "shown",
        "share of components whose Gaussian fit explains at least 95 % (R²)", 0.9,
    ),
    Claim(
        "IX-tilt", "IX", "A tenth of the points, the outer ones, can tilt the inner ellipses.", "shown for one pair",
        "largest turn of a leading pair's inner ellipse by the cut, degrees", 5.0,
    ),
    Claim(
        "X-faces", "X", "Points inside the ellipses of all planes decode to faces.", "stated",
        "Fréchet distance, best f, over that of the best uniform box", high=0.2,
    ),
    Claim(
        "X-better", "X", "The ellipses improve on the ranges of single components.", "stated",
        "Fréchet distance, best f, over that of the ranges, best k", high=0.7,
    ),
    Claim(
        "X-mean", "published", "A fitted Gaussian fails (127.85; a mixture: 45.10): its draw lacked the mean.",
        "2.8", "Fréchet distance of N(0, Σ) over that of N(μ, Σ)", 2.0,
    ),
    Claim(
        "A1-radius", "older II", "The radii of z-points peak at √256, as if every component had variance 1.", "16.5",
        "radius at the peak of the radius density over √d", 0.9, 1.1,
    ),
    Claim(
        "A1-far", "older II", "Twice as far out as the peak there are no z-points.", "none above 32",
        "largest radius over the radius at the peak", high=2.0,
    ),
    Claim(
        "A1-dominant", "older II", "One principal component dominates.", "shown",
        "variance of the first principal component over that of the second", 2.0,
    ),
    Claim(
        "A1-lines", "older II", "Under zoom, the points of a plane lie on narrow lines.", "shown",
        "line share, PCA plane (0, 1), window of 150 points: the way from normal twins (0) to lines (1)", 0.25,
    ),
    Claim(
        "A1-voids", "older II", "Extended voids lie between the lines.", "shown",
        "void share, PCA plane (0, 1), window of 150 points, over that of normal twins (means)", 1.5,
    ),
    Claim(
        "A1-largest", "older II", "The voids are much larger than chance makes them.", "stated",
        "points missing in the largest void, PCA plane (0, 1), over those of normal twins (means)", 1.5,
    ),
    Claim(
        "A1-planes", "older II", "Lines and voids show in every plane.", "shown in 4 planes",
        "share of the planes with more line share than 95 % of their normal twins, window of 150 points", 0.75,
    ),
    Claim(
        "A1-thin", "older II", "The filaments are thin in all directions but one.", "stated",
        "mean share of the local variance along its first axis over that of normal twins", 1.5,
    ),
    Claim(
        "A1-strings", "older II", "The filaments are one-dimensional.", "1",
        "intrinsic dimension by TwoNN", high=2.0,
    ),
    Claim(
        "A1-clusters", "older II", "The z-points cluster.", "shown",
        "Hopkins' H against the normal law (½: no clusters)", 0.6,
    ),
    Claim(
        "A1-map", "older II", "The gaps in a t-SNE map are gaps of the latent space.", "shown",
        "points missing in the largest void of the map over those in a normal twin's map", 1.5,
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


def claims_table(checked: Iterable[Checked]) -> ClaimsTable:
    """Lay out claims, measurements and verdicts as a table.

    Parameters
    ----------
    checked : iterable of Checked
        Results of `check`.

    Returns
    -------
    ClaimsTable
        One row per claim, indexed by its key. Shown in a notebook, it leaves the claims in the output for a run to
        collect.

    Examples
    --------
    >>> claims_table([check("I-ivs", 27_648)]).loc["I-ivs", "measured"]
    '27648'
    """
    every = tuple(checked)
    rows = [
        {
            "statement": c.claim.statement,
            "source": c.claim.source,
            "measure": c.claim.measure,
            "reproduced if": _interval(c.claim),
            "measured": _figure(c),
            "verdict": c.verdict.value,
        }
        for c in every
    ]
    table = ClaimsTable(rows, index=pd.Index([c.claim.key for c in every], name="claim"))
    table.attrs[MIME] = [_entry(c) for c in every]
    return table


def _entry(checked: Checked) -> dict[str, Any]:
    """Say in JSON what was checked."""
    known = math.isfinite(checked.measured)
    return {
        "id": checked.claim.key,
        "post": checked.claim.post,
        "text": checked.claim.statement,
        "source_figure": checked.claim.source,
        "measure": checked.claim.measure,
        "criterion": _interval(checked.claim),
        "measured": checked.measured if known else None,
        "standard_error": checked.standard_error if known else None,
        "verdict": checked.verdict.value,
    }


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
