"""Fits linear weights to labelled rows, starting from weights that are known already.

What is minimised is the cross-entropy plus the squared distance from the prior: with few rows of a
city the model stays what it was where these say nothing (a Gaussian prior on the weights; Chelba
and Acero, Adaptation of Maximum Entropy Capitalizer, 2004). A prior of zeros is plain multinomial
logistic regression. Where the prior knows something, its scores may also be mixed anew, a matrix
of labels by labels (matrix scaling; Guo et al., On Calibration of Modern Neural Networks, 2017):
a city draws some lines elsewhere. That is still one linear model. The same rows give the same
weights, bit for bit, on the same libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize  # type: ignore[import-untyped,import-not-found,unused-ignore]
import scipy.sparse  # type: ignore[import-untyped,import-not-found,unused-ignore]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from services.triage.domain.features import Features, Floats

Doubles = npt.NDArray[np.float64]
_TWO = 2
_BIAS_SHARE = 0.1  # of the penalty: how common a label is may differ more than what it looks like


@dataclass(frozen=True, slots=True)
class Prior:
    """The weights (columns × labels) and bias that a fit starts from and is held to."""

    weights: Floats
    bias: Floats


def one_thread() -> AbstractContextManager[object]:
    """Sums in one order whatever the number of processors: else the last bit would depend on it."""
    limited: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limited


def matrix(rows: Sequence[Features], columns: int) -> Any:
    """The rows as one sparse matrix of `columns` columns (`scipy.sparse.csr_matrix`)."""
    starts = np.cumsum([0, *(len(row.columns) for row in rows)])
    values = [row.values for row in rows] or [np.zeros(0, dtype=np.float32)]
    places = [row.columns for row in rows] or [np.zeros(0, dtype=np.int64)]
    return scipy.sparse.csr_matrix(
        (np.concatenate(values).astype(np.float64), np.concatenate(places), starts),
        shape=(len(rows), columns),
    )


def targets(labels: Sequence[Sequence[str]], names: Sequence[str]) -> Doubles:
    """One row a text: its share of each label; several right ones share it equally."""
    places = {name: place for place, name in enumerate(names)}
    wanted = np.zeros((len(labels), len(names)))
    for row, right in enumerate(labels):
        for label in right:
            wanted[row, places[label]] = 1 / len(right)
    return wanted


def balanced(wanted: Doubles) -> Doubles:
    """Weights of rows by which all labels weigh the same in sum."""
    counts = wanted.sum(axis=0)
    each = len(wanted) / max(int((counts > 0).sum()), 1) / np.maximum(counts, 1e-9)
    weights: Doubles = wanted @ each
    return weights


def mix(rows: Any, wanted: Doubles, importance: Doubles, prior: Prior, penalty: float) -> Prior:
    """A prior whose scores are mixed anew, labels by labels; `penalty` holds them as they are."""
    known = rows @ prior.weights.astype(np.float64) + prior.bias
    labels = wanted.shape[1]

    def loss(changes: Doubles) -> tuple[float, Doubles]:
        mixed, shift = changes[:-labels].reshape(labels, labels), changes[-labels:]
        value, error = _entropy(known + known @ mixed + shift, wanted, importance)
        value += 0.5 * penalty * float((mixed * mixed).sum()) + 0.05 * float(shift @ shift)
        slopes = (known.T @ error + penalty * mixed).ravel(), error.sum(axis=0) + 0.1 * shift
        return value, np.concatenate(slopes)

    found = _minimum(loss, labels * labels + labels, 300)
    mixture = np.eye(labels) + found[:-labels].reshape(labels, labels)
    return Prior(
        (prior.weights @ mixture).astype(np.float32),
        (prior.bias @ mixture + found[-labels:]).astype(np.float32),
    )


def fit(
    rows: Any, wanted: Doubles, importance: Doubles, prior: Prior, penalty: float, steps: int = 150
) -> Prior:
    """Weights and bias for `rows` (sparse), whose labels are `wanted` and weigh `importance`;
    `penalty` holds them to the prior's."""
    active = np.flatnonzero(np.diff(rows.tocsc().indptr))
    narrow = rows[:, active].tocsr()
    across = narrow.T.tocsr()
    known = rows @ prior.weights.astype(np.float64) + prior.bias
    labels = wanted.shape[1]
    split = len(active) * labels

    def loss(changes: Doubles) -> tuple[float, Doubles]:
        delta, shift = changes[:split].reshape(len(active), labels), changes[split:]
        value, error = _entropy(known + narrow @ delta + shift, wanted, importance)
        value += 0.5 * penalty * float((delta * delta).sum() + _BIAS_SHARE * shift @ shift)
        by_weight = across @ error + penalty * delta
        by_bias = error.sum(axis=0) + _BIAS_SHARE * penalty * shift
        return value, np.concatenate([by_weight.ravel(), by_bias])

    found = _minimum(loss, split + labels, steps)
    weights = prior.weights.copy()
    weights[active] += found[:split].reshape(len(active), labels).astype(np.float32)
    return Prior(weights, (prior.bias + found[split:]).astype(np.float32))


def _entropy(scores: Doubles, wanted: Doubles, importance: Doubles) -> tuple[float, Doubles]:
    """The cross-entropy of scores, and its slope by each of them."""
    scores = scores - scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    sums = shares.sum(axis=1, keepdims=True)
    value = float(importance @ (np.log(sums[:, 0]) - (wanted * scores).sum(axis=1)))
    return value, importance[:, None] * (shares / sums - wanted)


def _minimum(
    loss: Callable[[Doubles], tuple[float, Doubles]], variables: int, steps: int
) -> Doubles:
    options = {"maxiter": steps, "ftol": 1e-6, "gtol": 1e-3}
    start = np.zeros(variables)
    found: Doubles = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options=options
    ).x
    return found


def fit_margins(rows: Any, wanted: Doubles, penalty: float) -> Prior:
    """Weights of a linear support vector machine, one label against the rest, all weighing the
    same: for many long texts faster than `fit`, and as good or better."""
    from sklearn.svm import LinearSVC

    active = np.flatnonzero(np.diff(rows.tocsc().indptr))
    machine = LinearSVC(
        C=1 / penalty, class_weight="balanced", random_state=0, tol=1e-2, max_iter=300
    ).fit(rows[:, active], wanted.argmax(axis=1))
    weights = np.zeros((rows.shape[1], wanted.shape[1]), dtype=np.float32)
    # A label that none of these rows has is never said; two labels share one plane.
    bias = np.full(wanted.shape[1], -10.0, dtype=np.float32)
    planes, shifts = machine.coef_, machine.intercept_
    if len(machine.classes_) == _TWO:
        planes, shifts = np.concatenate([-planes, planes]), np.concatenate([-shifts, shifts])
    weights[np.ix_(active, machine.classes_)] = planes.T
    bias[machine.classes_] = shifts
    return Prior(weights, bias)


def temperature(scores: Doubles, wanted: Doubles, sharpest: float = 1.0) -> float:
    """How much softer scores of unseen texts must be to tell the truth; at least `sharpest`."""
    candidates = np.arange(sharpest, 6.01, 0.1)
    losses = []
    for one in candidates:
        soft = scores / one
        soft -= soft.max(axis=1, keepdims=True)
        logs = soft - np.log(np.exp(soft).sum(axis=1, keepdims=True))
        losses.append(-float((wanted * logs).sum()))
    return round(float(candidates[int(np.argmin(losses))]), 2)
