"""Interpretation of a comparison of activations, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy import stats

from thermo_callbacks.comparison.records import ActivationSummary, RunRecord, SeedEstimate, estimate, summarise

LOSS = "val_loss_best"
_FEWEST = 4  # with fewer activations no order whatever is rare enough to mean something
_SIGNIFICANT = 0.05


def read_comparison(records: Sequence[RunRecord]) -> list[str]:
    """Interpret the runs of a comparison: the best, which others differ from it, and how efficiency goes along.

    Others are told from the best by the differences at equal seeds, where initial weights and data order are the same:
    an activation is behind if the interval of its mean difference is above zero, all of them together at 95 %
    (Bonferroni). Work efficiency of the network and loss are correlated over the means of the activations (Kendall's
    tau with its exact p value), since the runs of one activation are no independent cases.

    Returns:
        The sentences, one paragraph each.

    Example:
        >>> runs = [
        ...     RunRecord(activation=name, seed=seed, values={"val_loss_best": loss + seed / 10})
        ...     for name, loss in (("ReLU", 0.5), ("Tanh", 0.75))
        ...     for seed in range(2)
        ... ]
        >>> read_comparison(runs)[0]
        'Lowest validation loss: ReLU, 0.5500 on average over 2 seeds (95 % from -0.0853 to 1.1853).'
    """
    summaries = [each for each in summarise(records) if each.values[LOSS].n]
    if not summaries:
        return ["No run finished with a validation loss: there is nothing to compare."]
    best = min(summaries, key=lambda each: each.values[LOSS].mean)
    others = [each for each in summaries if each is not best]
    sentences = [_best(best)]
    if others:
        sentences += [*_differences(best, others), _correlation(summaries)]
    return sentences


def _best(best: ActivationSummary) -> str:
    loss = best.values[LOSS]
    start = f"Lowest validation loss: {best.activation}, {loss.mean:.4f}"
    if loss.n < 2:
        return f"{start}, from one run: nothing says how far it would scatter from seed to seed."
    return f"{start} on average over {loss.n} seeds (95 % from {loss.lower:.4f} to {loss.upper:.4f})."


def _differences(best: ActivationSummary, others: Sequence[ActivationSummary]) -> list[str]:
    losses = _losses(best)
    differences: dict[str, SeedEstimate] = {}
    for other in others:
        pairs = [loss - losses[seed] for seed, loss in _losses(other).items() if seed in losses]
        differences[other.activation] = estimate(pairs, comparisons=len(others))
    behind = [name for name, difference in differences.items() if difference.lower > 0.0]
    level = [name for name, difference in differences.items() if difference.n > 1 and not difference.lower > 0.0]
    unknown = [name for name, difference in differences.items() if difference.n < 2]
    sentences = []
    if behind:
        listed = ", ".join(f"{name} (by {_interval(differences[name])})" for name in behind)
        sentences.append(f"Behind {best.activation} by more than the interval of the difference: {listed}.")
    if level:
        listed = ", ".join(f"{name} ({_interval(differences[name])})" for name in level)
        sentences.append(
            f"Not told from {best.activation} by these runs, the interval of the difference reaches 0: {listed}."
        )
    if unknown:
        sentences.append(f"No interval, since two seeds in common take two finished runs each: {', '.join(unknown)}.")
    if behind or level:
        sentences.append(
            "Differences are between runs of the same seed, and hold for all activations together at 95 %. They cover "
            "initial weights and the order of the data; other data, networks or learning rates may rank otherwise."
        )
    return sentences


def _losses(summary: ActivationSummary) -> Mapping[int, float]:
    losses = {run.seed: run.values.get(LOSS, math.nan) for run in summary.finished}
    return {seed: loss for seed, loss in losses.items() if math.isfinite(loss)}


def _interval(difference: SeedEstimate) -> str:
    return f"{difference.mean:.4f} ± {difference.half_width:.4f}"


def _correlation(summaries: Sequence[ActivationSummary]) -> str:
    pairs = [(each.values["work_efficiency"].mean, each.values[LOSS].mean) for each in summaries]
    measured = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if not measured:
        return "The network's work efficiency was not measured, so nothing is said of how it goes along with the loss."
    n = len(measured)
    if n < _FEWEST:
        return f"Too few activations, {n}, to say how work efficiency and loss go along: it takes {_FEWEST}."
    efficiencies, losses = zip(*measured, strict=True)
    result = stats.kendalltau(efficiencies, losses)
    tau, chance = float(result.statistic), float(result.pvalue)
    if not math.isfinite(tau):
        return "Work efficiency or loss is the same for all activations, so there is no correlation."
    start = (
        f"Work efficiency of the network and validation loss, over the means of {n} activations: Kendall's rank "
        f"correlation {tau:.2f} (n = {n}, p = {chance:.2g})"
    )
    if chance >= _SIGNIFICANT:
        return f"{start}. So few activations would often give as much by chance: no relation is shown."
    lower = "lower" if tau < 0 else "higher"
    return f"{start}. Among these activations a higher efficiency goes with a {lower} loss; that is no cause."
