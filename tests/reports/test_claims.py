"""What the reports claim, held to what is published of them: numbers, sentences, completeness."""

import math

import pytest

from labkit import compare
from labkit.compare.values import fraction
from labkit.reports import REPORTS, find_row
from labkit.reports.printed import printed

TABLE = compare.published()
PRINTED = TABLE[(TABLE.kind == "report") & (TABLE.row != "") & (TABLE.selection != "during")]
CLAIMS = [(report, claim) for report in REPORTS.values() for claim in report.claims]
LIMIT = "001-E6"  # "never reached 20%" is no score


def values(row, metric):
    """All that the report prints of a row's metric; of its best epoch, too."""
    lines = PRINTED[PRINTED.row == row]
    return list(lines[lines.metric == metric.removeprefix("best_")].value)


@pytest.mark.parametrize("report", REPORTS.values(), ids=lambda report: report.id)
def test_every_claim_has_a_name_and_a_text_of_its_own(report):
    for names in ([claim.id for claim in report.claims], [claim.text for claim in report.claims]):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("report", REPORTS.values(), ids=lambda report: report.id)
def test_every_sentence_that_claims_something_has_its_claim_and_no_other_is_claimed(report):
    own = TABLE[TABLE.report == report.id]
    claimed = {claim.sentence for claim in report.claims} - {""}
    assert claimed <= set(own.sentence)
    assert set(own[own.kind == "claim"].sentence) <= claimed
    assert not claimed & set(own[own.kind == "text"].sentence)


@pytest.mark.parametrize(("report", "claim"), CLAIMS, ids=lambda each: each.id)
def test_a_number_that_a_claim_calls_the_reports_is_published(report, claim):
    points, ratio = claim.numbers.get("points"), claim.numbers.get("printed")
    if points is not None:
        a, b = (values(row, claim.metric) for row in claim.rows)
        gaps = [100 * (x - y) for x in a for y in b]
        gaps += [100 * gain for gain in values(claim.rows[0], f"{claim.metric}_gain")]
        assert any(math.isclose(points, gap, abs_tol=0.005) for gap in gaps)
    if ratio is not None:
        a, b = (values(row, claim.metric) for row in claim.rows)
        ratios = [x / y for x in a for y in b] + values(claim.rows[0], f"{claim.metric}_ratio")
        assert any(math.isclose(ratio, each, rel_tol=0.01) for each in ratios)
    if claim.kind == "level" and fraction(claim.metric) and "(our limit)" not in claim.text:
        ends = [e for e in (claim.numbers["at_least"], claim.numbers["at_most"]) if e is not None]
        own = TABLE[TABLE.report == report.id]
        known = [0.0] if claim.metric == "train_lead_top1" else own.value
        assert any(math.isclose(sum(ends) / len(ends), value) for value in known)


@pytest.mark.parametrize("end", ["", "T"])
def test_every_printed_accuracy_has_a_claim_that_it_comes_out_again(end):
    claimed = {(claim.rows[0], claim.metric): claim.numbers for _, claim in CLAIMS
               if claim.kind == "level" and claim.id.startswith("printed: ")}  # fmt: skip
    scores = PRINTED[PRINTED.metric.map(fraction) & (PRINTED.table != "conclusion")]
    scores = scores[~scores.row.isin([LIMIT, "002-M0"])]  # M0 is of another data set: no row
    scores = scores[scores.report == "000"] if end else scores
    assert len(scores) > (10 if end else 40)
    for line in scores.itertuples():
        metric = f"best_{line.metric}" if line.selection == "best" else line.metric
        find_row(line.row + end)
        numbers = claimed[line.row + end, metric]
        assert numbers["at_least"] == pytest.approx(line.value - compare.REPRODUCED)
        assert numbers["at_most"] == pytest.approx(line.value + compare.REPRODUCED)


def test_a_number_that_no_report_prints_is_no_claim():
    assert printed("002-M1") == 0.381
    assert printed("001-E2") == 0.295  # the first of two
    with pytest.raises(ValueError, match="no report prints test_top1 of 002-S1"):
        printed("002-S1")
