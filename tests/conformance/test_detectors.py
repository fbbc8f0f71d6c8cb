"""What every detector must do. A new detector is one more `Case` in tests/support/detectorcases.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import Detector, SnapshotError, Verdict
from tests.support.detectorcases import (
    CASES,
    HOUR_MS,
    NORMAL,
    OUTAGE,
    Case,
    arrays,
    contents,
    every_detector,
    everything,
    learnt,
    step,
)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Bin:
    """One bin of three keys, some bins after the one before."""

    skipped: int
    counts: tuple[float, float, float]
    observed: tuple[bool, bool, bool]
    is_open: tuple[bool, bool, bool]
    covered: tuple[bool, bool, bool] = (True, True, True)
    threshold_rise: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _three(values: Sequence[T]) -> st.SearchStrategy[tuple[T, T, T]]:
    one = st.sampled_from(values)
    return st.tuples(one, one, one)


any_bins = st.lists(
    st.builds(
        Bin,
        skipped=st.sampled_from([0, 0, 0, 0, 1, 3, 20, 700]),
        counts=_three([0.0, 1.0, 9.0, NORMAL, 12.0, 55.0, OUTAGE, 1e7]),
        observed=_three([True, True, True, False]),
        is_open=_three([False, False, False, True]),
        covered=_three([True, True, True, False]),
        threshold_rise=_three([0.0, 0.0, 0.5, 4.0, 200.0]),
    ),
    max_size=40,
)


def run(
    case: Case, detector: Detector, bins: Sequence[Bin], first: int, keys: Sequence[int] = (0, 1, 2)
) -> list[Verdict]:
    """Step the given keys of the bins, in the given order, as the keys of the detector."""
    verdicts = []
    number = first
    for each in bins:
        number += each.skipped
        verdicts.append(
            step(
                case,
                detector,
                number,
                [each.counts[key] for key in keys],
                [each.observed[key] for key in keys],
                [each.is_open[key] for key in keys],
                covered=[each.covered[key] for key in keys],
                threshold_rise=[each.threshold_rise[key] for key in keys],
            )
        )
        number += 1
    return verdicts


@every_detector
def test_a_new_detector_has_no_keys(case: Case) -> None:
    detector = case.make()
    assert detector.keys == 0
    assert detector.name
    assert detector.version >= 1
    assert len(step(case, detector, 0, []).raised) == 0


@every_detector
def test_a_verdict_has_one_element_per_key_and_the_types_it_says(case: Case) -> None:
    verdict = step(case, learnt(case, 3), case.learning_bins, [0, NORMAL, 1e7])
    types = {name: array.dtype for name, array in arrays(verdict).items()}
    assert types == {
        "expected": np.float64,
        "score": np.float64,
        "score_threshold": np.float64,
        "raised": np.bool_,
        "clear_level": np.float64,
        "clear_score": np.float64,
        "clear_threshold": np.float64,
        "rebaselined": np.bool_,
        "learning": np.bool_,
    } | {f"figures.{name}": np.float64 for name in verdict.figures}
    assert all(array.shape == (3,) for array in arrays(verdict).values())


@every_detector
def test_later_steps_leave_a_verdict_alone(case: Case) -> None:
    detector = learnt(case)
    verdict = step(case, detector, case.learning_bins, [OUTAGE])
    before = contents(verdict)
    for i in range(1, 1000):
        step(case, detector, case.learning_bins + i, [3.0 + i])
    assert contents(verdict) == before


@every_detector
@settings(max_examples=20, deadline=None)
@given(bins=any_bins)
def test_the_same_bins_give_the_same_verdicts_and_state(case: Case, bins: list[Bin]) -> None:
    one, two = learnt(case, 3), learnt(case, 3)
    verdicts = [list(map(contents, run(case, detector, bins, case.learning_bins))) for detector in (one, two)]
    assert verdicts[0] == verdicts[1]
    assert everything(one) == everything(two)


@every_detector
@settings(max_examples=30, deadline=None)
@given(before=any_bins, after=any_bins, fresh=st.booleans())
def test_a_restored_detector_goes_on_as_if_nothing_had_happened(
    case: Case, before: list[Bin], after: list[Bin], fresh: bool
) -> None:
    detector = learnt(case, 3)
    if fresh:
        detector = case.make()
        detector.resize(3)
    run(case, detector, before, case.learning_bins)
    state = everything(detector)
    restored = case.make()
    restored.resize(3)
    restored.restore(slice(0, 3), state)
    assert everything(restored) == state

    first = case.learning_bins + sum(1 + each.skipped for each in before)
    assert list(map(contents, run(case, restored, after, first))) == list(
        map(contents, run(case, detector, after, first))
    )
    assert everything(restored) == everything(detector)


@every_detector
@settings(max_examples=30, deadline=None)
@given(bins=any_bins, keys=st.permutations([0, 1, 2]), size=st.integers(1, 3))
def test_a_key_is_judged_alike_in_any_subset_and_order(case: Case, bins: list[Bin], keys: list[int], size: int) -> None:
    subset = keys[:size]
    whole, part = learnt(case, 3), learnt(case, size)
    verdicts = run(case, whole, bins, case.learning_bins)
    verdicts_of_part = run(case, part, bins, case.learning_bins, subset)
    assert list(map(contents, verdicts_of_part)) == [contents(verdict, subset) for verdict in verdicts]
    assert everything(part) == whole.snapshot(np.array(subset))


@every_detector
def test_a_key_is_the_same_bytes_alone_among_a_thousand_shifted_and_permuted(case: Case) -> None:
    k, bins = 1000, 11 * case.learning_bins // 10 + 50
    random = np.random.default_rng(3)
    counts = random.negative_binomial(5, 0.1, size=(bins, k)) * random.choice([1.0, 20.0], size=(bins, k), p=[0.9, 0.1])
    counts[-20:, ::3] *= 100.0
    observed = random.random((bins, k)) < 0.95
    is_open = random.random((bins, k)) < 0.002

    def judge(keys: list[int]) -> tuple[Detector, list[Verdict]]:
        detector = case.make()
        detector.resize(len(keys))
        series = zip(counts[:, keys].tolist(), observed[:, keys].tolist(), is_open[:, keys].tolist(), strict=True)
        return detector, [step(case, detector, number, *each) for number, each in enumerate(series)]

    whole, verdicts = judge(list(range(k)))
    assert any(verdict.raised.any() for verdict in verdicts)
    for keys in ([0], [511], [999], list(range(1, k)), [int(key) for key in random.permutation(k)]):
        part, verdicts_of_part = judge(keys)
        assert everything(part) == whole.snapshot(np.array(keys))
        for verdict, verdict_of_part in zip(verdicts, verdicts_of_part, strict=True):
            assert contents(verdict_of_part) == contents(verdict, keys)


@every_detector
@settings(max_examples=20, deadline=None)
@given(bins=any_bins)
def test_keys_that_lag_behind_catch_up(case: Case, bins: list[Bin]) -> None:
    """A restart steps each key from its own snapshot on: afterwards it is where it would have been."""
    together = learnt(case, 3)
    run(case, together, bins, case.learning_bins)
    gathered = case.make()
    gathered.resize(3)
    for key in range(3):
        alone = learnt(case, 1)
        run(case, alone, bins, case.learning_bins, [key])
        gathered.restore(np.array([key]), everything(alone))
    assert everything(gathered) == everything(together)


@every_detector
@settings(max_examples=20, deadline=None)
@given(bins=any_bins)
def test_a_skipped_bin_is_one_that_was_not_observed(case: Case, bins: list[Bin]) -> None:
    skipping, stepping = learnt(case, 3), learnt(case, 3)
    number = case.learning_bins
    for each in bins:
        for _ in range(each.skipped):
            step(case, stepping, number, [7.0] * 3, observed=False)
            number += 1
        verdicts = [
            step(case, detector, number, each.counts, each.observed, each.is_open, covered=each.covered)
            for detector in (skipping, stepping)
        ]
        assert contents(verdicts[0]) == contents(verdicts[1])
        number += 1
    assert everything(skipping) == everything(stepping)


@every_detector
def test_bins_that_are_missing_open_or_not_covered_teach_nothing(case: Case) -> None:
    verdicts = []
    for level in (OUTAGE, 3 * OUTAGE):
        detector = learnt(case, 3)
        # Less than a day: after one, a detector may take an incident's level for the usual one.
        for number in range(case.learning_bins, case.learning_bins + 20 * HOUR_MS // case.bin_ms):
            verdict = step(
                case,
                detector,
                number,
                [level] * 3,
                observed=[False, True, True],
                is_open=[False, True, False],
                covered=[True, True, False],
            )
        verdicts.append(verdict)
    # What is missing for long may be forgotten, but is never learnt.
    assert verdicts[0].expected.tobytes() == verdicts[1].expected.tobytes()
    near = np.isnan(verdict.expected) | (np.abs(verdict.expected - NORMAL) < 0.05 * NORMAL)
    assert near.all()


@every_detector
def test_a_key_learns_as_long_as_it_says(case: Case) -> None:
    detector = case.make()
    detector.resize(1)
    learning = [bool(step(case, detector, i, [NORMAL]).learning[0]) for i in range(case.learning_bins + 2)]
    assert learning == [True] * case.learning_bins + [False, False]


@every_detector
@settings(max_examples=30, deadline=None)
@given(bins=any_bins)
def test_a_key_that_is_learning_is_never_raised(case: Case, bins: list[Bin]) -> None:
    detector = case.make()
    detector.resize(3)
    for verdict in run(case, detector, bins, 0):
        assert not (verdict.learning & verdict.raised).any()
        assert np.isnan(verdict.expected[verdict.learning]).all()


@every_detector
def test_resizing_keeps_the_other_keys_and_forgets_those_dropped(case: Case) -> None:
    detector, fresh = learnt(case, 3), case.make()
    fresh.resize(1)
    state = everything(detector)
    detector.resize(50)
    assert detector.keys == 50
    assert detector.snapshot(slice(0, 3)) == state
    assert all(detector.snapshot(slice(key, key + 1)) == everything(fresh) for key in range(3, 50))
    detector.resize(2)
    assert everything(detector) == learnt(case, 3).snapshot(slice(0, 2))
    detector.resize(3)
    assert detector.snapshot(slice(2, 3)) == everything(fresh)
    with pytest.raises(ValueError, match="-1"):
        detector.resize(-1)


@every_detector
def test_bad_input_is_named_and_leaves_everything_as_it_was(case: Case) -> None:
    detector = learnt(case, 2)
    step(case, detector, case.learning_bins, [NORMAL, NORMAL])
    state, start_ms = everything(detector), (case.learning_bins + 1) * case.bin_ms
    counts, observed, is_open, offset = np.zeros(2), np.ones(2, np.bool_), np.zeros(2, np.bool_), np.zeros(2, np.int64)

    for bad in (np.nan, np.inf, -1.0, 2.0**53 + 2):
        with pytest.raises(ValueError, match=r"counts\[1\] is"):
            detector.step(start_ms, np.array([0.0, bad]), observed, is_open, offset)
    with pytest.raises(ValueError, match="counts has type float64 and shape"):
        detector.step(start_ms, np.zeros(3), observed, is_open, offset)
    with pytest.raises(ValueError, match="observed has type bool and shape"):
        detector.step(start_ms, counts, np.ones(1, np.bool_), is_open, offset)
    with pytest.raises(ValueError, match="is_open has type float64"):
        detector.step(start_ms, counts, observed, counts, offset)  # type: ignore[arg-type] # the error under test
    with pytest.raises(ValueError, match="local_offset_s has type int64 and shape"):
        detector.step(start_ms, counts, observed, is_open, np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="covered has type float64"):
        detector.step(start_ms, counts, observed, is_open, offset, covered=counts)  # type: ignore[arg-type] # the same
    with pytest.raises(ValueError, match="threshold_rise has type float64 and shape"):
        detector.step(start_ms, counts, observed, is_open, offset, threshold_rise=np.zeros(1))
    for bad in (np.nan, np.inf, -0.5):
        with pytest.raises(ValueError, match=r"threshold_rise\[1\] is"):
            detector.step(start_ms, counts, observed, is_open, offset, threshold_rise=np.array([0.0, bad]))
    with pytest.raises(ValueError, match=f"bin_start_ms is {start_ms + 1}: not a multiple"):
        detector.step(start_ms + 1, counts, observed, is_open, offset)
    with pytest.raises(ValueError, match="key 0 has been stepped up to"):
        detector.step(start_ms - case.bin_ms, counts, observed, is_open, offset)

    assert everything(detector) == state


@every_detector
def test_a_snapshot_that_does_not_fit_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = learnt(case, 2)
    state = everything(detector)
    others = [case.make_other(), *(other.make() for other in CASES if other is not case)]
    monkeypatch.setattr(type(detector), "version", detector.version + 1)
    for other in [*others, case.make()]:
        other.resize(2)
        with pytest.raises(SnapshotError, match="snapshot is of"):
            other.restore(slice(0, 2), state)
    for keys, truncated in ((slice(0, 1), state), (slice(0, 2), state[:-1]), (slice(0, 2), state + b"x")):
        with pytest.raises(SnapshotError, match="bytes"):
            detector.restore(keys, truncated)
    for nonsense in (b"", b"\n", b"\xff" * 10_000):
        with pytest.raises(SnapshotError):
            detector.restore(slice(0, 2), nonsense)
    assert everything(detector) == state
