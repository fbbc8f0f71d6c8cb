"""Mixture Shiryaev-Roberts evidence: how much likelier the last bins are after some jump than without one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.nbsr.baseline import Bools, Floats
from detectors.nbsr.negativebinomial import log_gamma_ratio, log_likelihood_ratio

#: The jumps that evidence is gathered for, in multiples of the guarded mean.
JUMPS = (1.5, 2.0, 3.0, 5.0, 10.0)
#: The most that one bin may say, as a share of the threshold: at least two bins are needed.
SPIKE_CAP = 0.55
#: Without its largest bin the evidence must come to this share of the threshold, unless another bin is as large.
REST_SHARE, SECOND_SHARE = 0.75, 0.45
#: How much of the memory of the two largest bins is left a bin later.
SPIKE_KEPT = 0.99
#: Evidence is held up to this multiple of the threshold, so that it can fall again.
MOST_THRESHOLDS = 2.0

#: Likelihood ratio of an ended outage against one that goes on, in nats, that ends an incident. One bin may say as much
#: of it as of a raise: the last bin before the reports cease holds a part of them, and must not end an incident.
CLEAR_THRESHOLD = 4.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of some keys for an outage.

    Parameters
    ----------
    by_jump
        M, by which factor the bins so far are likelier if there was such a jump at any of them, shape (K, jumps).
    spikes
        What the largest and the second largest bin have lately added to the score, shape (K, 2).
    """

    by_jump: Floats
    spikes: Floats

    @property
    def score(self) -> Floats:
        """ln(1 + mean of M) in nats, shape (K,); 0 where nothing speaks for an outage."""
        total = self.by_jump[:, 0].copy()
        for i in range(1, len(JUMPS)):
            total += self.by_jump[:, i]
        return np.log1p(total / len(JUMPS))

    def reaches(self, threshold: Floats) -> Bools:
        """Return where the score has reached the threshold, and not by one bin alone; shape (K,)."""
        score = self.score
        rest, second = score - self.spikes[:, 0], self.spikes[:, 1]
        return (score >= threshold) & ((rest >= REST_SHARE * threshold) | (second >= SECOND_SHARE * threshold))

    def where(self, condition: Bools, other: Evidence) -> Evidence:
        """Return this evidence where the condition holds, shape (K,), else the other."""
        rows = condition[:, np.newaxis]
        return Evidence(np.where(rows, self.by_jump, other.by_jump), np.where(rows, self.spikes, other.spikes))

    def after(self, counts: Floats, null: Floats, phi: Floats, threshold: Floats) -> Evidence:
        """Return the evidence after one more bin: M becomes (1 + M) exp(l) for each jump.

        Parameters
        ----------
        counts, null, phi
            Reports of the bin, its mean if there is no outage, its dispersion; shape (K,).
        threshold
            The score that raises, shape (K,); l is cut at a share of it.

        Notes
        -----
        A. N. Shiryaev, "On optimum methods in quickest detection problems", 1963; S. W. Roberts, "A comparison of some
        control chart procedures", 1966. Where the null holds, the mean run length to a false alarm is at least
        exp(threshold), for any mixture: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2023.
        """
        size = null / (phi - 1.0)
        log_phi = np.log(phi)
        of_null = log_gamma_ratio(counts, size)
        cap, most = SPIKE_CAP * threshold, np.exp(MOST_THRESHOLDS * threshold)
        by_jump = np.empty_like(self.by_jump)
        for i, jump in enumerate(JUMPS):
            ratio = log_gamma_ratio(counts, jump * size) - of_null - (jump - 1.0) * size * log_phi
            by_jump[:, i] = np.minimum((1.0 + self.by_jump[:, i]) * np.exp(np.minimum(ratio, cap)), most)
        gain = Evidence(by_jump, self.spikes).score - self.score
        largest, second = self.spikes[:, 0] * SPIKE_KEPT, self.spikes[:, 1] * SPIKE_KEPT
        spikes = np.empty_like(self.spikes)
        spikes[:, 0] = np.maximum(largest, gain)
        spikes[:, 1] = np.maximum(second, np.minimum(largest, gain))
        return Evidence(by_jump, spikes)


def clear_level(null: Floats, phi: Floats) -> Floats:
    """Return the mean from which an outage is held to go on: what half an hour of bins can tell from the null."""
    return null * np.maximum(1.3, 1.0 + 4.0 * np.sqrt(phi / (30.0 * null)))


def gather_end(end_score: Floats, counts: Floats, mean: Floats, level: Floats, phi: Floats) -> Floats:
    """Return the evidence that an outage is over after one more bin: a CUSUM of the usual mean against `level`.

    Parameters
    ----------
    end_score
        The evidence after the bin before, shape (K,).
    counts, mean, level, phi
        Reports of the bin, what the baseline expects, the clear level, the dispersion; shape (K,).

    Notes
    -----
    E. S. Page, "Continuous inspection schemes", 1954.
    """
    usual = np.maximum(mean, level / 2.5)
    ratio = log_likelihood_ratio(counts, level / (phi - 1.0), usual / (phi - 1.0), np.log(phi))
    return np.maximum(end_score + np.minimum(ratio, SPIKE_CAP * CLEAR_THRESHOLD), 0.0)
