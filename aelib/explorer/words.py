"""What the explorer says: where a point is, and what a probe keeps fixed."""

from typing import Literal, NamedTuple

from aelib.explorer.cloud import Cloud
from aelib.explorer.planes import Plane
from aelib.explorer.recipes import Between, Blend, Drawn, Row, Start

_OUTSIDE, _INSIDE = 0.99, 0.01  # shares of the cloud that lie nearer
_FAR, _NEAR = 3.0, 2.0  # standard deviations in a plane


class Verdict(NamedTuple):
    """Where a point is, seen from the cloud.

    Parameters
    ----------
    level : {"outside", "within", "core"}
        Outside the cloud, among its points, or in the empty middle.
    text : str
        In words.
    """

    level: Literal["outside", "within", "core"]
    text: str


def verdict(cloud: Cloud, distance: float, in_plane: float | None) -> Verdict:
    """Judge the Mahalanobis distance of a point by those of the cloud's points.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    distance : float
        The point's distance in all dimensions.
    in_plane : float or None
        Its distance in the plane that is shown.

    Returns
    -------
    Verdict
        Outside if at least 99 of 100 points lie nearer to the centre; in the core if at most one does.
    """
    share = cloud.share_nearer(distance)
    hidden = f" This plane hides it: here it is {in_plane:.1f} σ." if in_plane is not None else ""
    if distance == float("inf"):
        return Verdict(
            "outside", "Off the cloud: the points span a plane of fewer dimensions, and this is not in it."
        )
    if share >= _OUTSIDE:
        who = (
            "Farther out than every face"
            if share == 1
            else f"Farther out than {100 * share:.1f} % of the faces"
        )
        return Verdict(
            "outside",
            f"Outside the cloud. {who}.{hidden if in_plane is not None and in_plane <= _NEAR else ''}",
        )
    if share <= _INSIDE:
        return Verdict(
            "core", "Nearer to the centre than any face, or nearly: faces lie in a shell around it."
        )
    far = (
        f" In this plane it is an outlier: {in_plane:.1f} σ."
        if in_plane is not None and in_plane > _FAR
        else ""
    )
    return Verdict(
        "within", f"As far out as faces are: {100 * share:.0f} % of them lie nearer to the centre.{far}"
    )


def start(begun: Start) -> str:
    """Name the place that the probe set out from.

    Parameters
    ----------
    begun : Start
        The place.

    Returns
    -------
    str
        A few words.
    """
    if isinstance(begun, Row):
        return f"face {begun.k}"
    if isinstance(begun, Blend):
        return f"a mean of {len(begun.rows)} faces"
    if isinstance(begun, Drawn):
        return f"draw {begun.k + 1}"
    if isinstance(begun, Between):
        return f"{begun.k} % of the way from A to B"
    return "the centre"


def kept(plane: Plane, follow: bool, begun: Start, cloud: Cloud) -> str:
    """Say what moves with the probe, and what stays.

    Parameters
    ----------
    plane : Plane
        The plane that it is moved in.
    follow : bool
        Whether the other components follow.
    begun : Start
        Where it set out from.
    cloud : Cloud
        The cloud.

    Returns
    -------
    str
        A sentence or two.
    """
    if plane.kind == "map":
        return (
            "A map has no way back: a place on it stands for the mean of its five nearest faces, the nearer ones with "
            "more weight. Nothing else is kept."
        )
    others = cloud.d - 2
    if plane.kind == "axes":
        return (
            f"The probe moves along axes {plane.i} and {plane.j}. The other {len(cloud.sigma) - 2} axes stay as they "
            f"are at {start(begun)}, sliders included: axes are uncorrelated, nothing follows."
        )
    moved = f"The probe moves components {plane.i} and {plane.j}. The other {others}"
    if follow:
        return f"{moved} follow by their covariance: each moves by its regression on these two."
    return f"{moved} stay as they are at {start(begun)}, sliders included, whatever their correlation with these two."
