import math

import pytest

from aelib.claims import CLAIMS, Verdict, check, claims_table


def test_keys_are_unique_and_criteria_can_fail():
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.low > -math.inf or claim.high < math.inf for claim in CLAIMS)
    assert all(claim.low <= claim.high for claim in CLAIMS)


@pytest.mark.parametrize(
    ("measured", "standard_error", "verdict"),
    [
        (0.5, 0.1, Verdict.REPRODUCED), (0.9, 0.05, Verdict.REPRODUCED), (0.95, 0.05, Verdict.PARTLY),
        (1.05, 0.05, Verdict.PARTLY), (1.2, 0.05, Verdict.NOT_REPRODUCED), (1.0, 0.0, Verdict.REPRODUCED),
        (1.01, 0.0, Verdict.NOT_REPRODUCED), (math.nan, 0.0, Verdict.NOT_APPLICABLE),
    ],
)  # fmt: skip
def test_verdicts(measured, standard_error, verdict):
    assert check("I-held-out", measured, standard_error).verdict is verdict


def test_lower_bounds_and_exact_figures():
    assert check("I-coarse", 0.95).verdict is Verdict.REPRODUCED
    assert check("I-coarse", 0.85).verdict is Verdict.NOT_REPRODUCED
    assert check("I-ivs", 27_647).verdict is Verdict.NOT_REPRODUCED


def test_unknown_claims_and_bad_errors_are_refused():
    with pytest.raises(ValueError, match="no claim 'X'; choose one of I-ivs"):
        check("X", 1.0)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="standard_error"):
            check("I-ivs", 1.0, bad)


def test_the_table_shows_figure_and_verdict():
    table = claims_table([check("I-held-out", 0.4, 0.1), check("I-mse", math.nan)])
    assert table.loc["I-held-out", "measured"] == "0.4 ± 0.1"
    assert table.loc["I-held-out", "reproduced if"] == "≤ 1"
    assert table.loc["I-mse", ["measured", "verdict"]].tolist() == ["–", "not applicable"]


def test_a_reader_sees_statements_in_full():
    html = claims_table([check("X-mean", 2.8, 0.1)])._repr_html_()
    (claim,) = (claim for claim in CLAIMS if claim.key == "X-mean")
    assert claim.statement in html and claim.measure in html
