"""All probes of one layer: rankings, refits and scores of every feature, as functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, random_generator, shuffled_labels
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.logistic import Probes, fit_probes_nested
from artneuro.probing.metrics import Metrics, f1_of, score_probes
from artneuro.probing.mutual_information import mutual_information
from artneuro.probing.rankings import ClassStatistics, class_statistics, scale_of, top

NO_CONTROL = "none"


@dataclass(frozen=True)
class LayerProbes:
    """The probes of one feature on one layer under one control.

    Attributes
    ----------
    feature : Feature
    control : str
    methods : tuple of str
        The rankings, one for each support.
    supports : ndarray of int64, shape (methods, k)
        Neurons, best first.
    probes : Probes
        Coefficients for activations as they are, whatever scaling the fit used.
    metrics : Metrics
        On the test split (its permuted labels under a control), arrays of shape (methods, k).
    f1_train : ndarray of shape (methods, k)
        Against the labels that were fitted.
    """

    feature: Feature
    control: str
    methods: tuple[str, ...]
    supports: np.ndarray
    probes: Probes
    metrics: Metrics
    f1_train: np.ndarray


def probe_layer(
    config: ProbingConfig,
    activations: np.ndarray,
    features: Sequence[Feature],
    *,
    site: str,
    layer: int,
) -> list[LayerProbes]:
    """Rank the neurons of a layer for each feature, refit the best k, and score them.

    Parameters
    ----------
    config : ProbingConfig
        Rankings, sizes, controls and seed.
    activations : ndarray of shape (rows, units)
        All rows of the store at this site and layer; finite.
    features : sequence of Feature
        What to probe for.
    site, layer
        Enter the seed of the random neurons.

    Returns
    -------
    list of LayerProbes
        For each feature first the probes, then those of each control.

    Notes
    -----
    Thesis, sections 2.3.2, A.2.3 and A.2.4.
    """
    # One neuron a line: what is chosen below is then read in whole lines.
    columns = np.ascontiguousarray(activations.T)
    tasks = [
        (feature, control, *_labels(feature, control, config.seed))
        for feature in features
        for control in (NO_CONTROL, *config.controls)
    ]
    positive = np.zeros((len(tasks), activations.shape[0]), dtype=np.bool_)
    negative = np.zeros_like(positive)
    for line, (feature, _, labels, _) in enumerate(tasks):
        positive[line, feature.train[labels]] = True
        negative[line, feature.train[~labels]] = True
    statistics = class_statistics(activations, positive, negative)
    found = []
    for line, (feature, control, labels, truth) in enumerate(tasks):
        supports = rank_neurons(
            config, columns, feature, labels, statistics, line, site=site, layer=layer
        )
        found.append(_fit_and_score(config, columns, feature, control, labels, truth, supports))
    return found


def _labels(feature: Feature, control: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the training and of the test rows under a control."""
    if control == NO_CONTROL:
        return feature.train_positive, feature.test_positive
    return shuffled_labels(feature, seed)


def rank_neurons(
    config: ProbingConfig,
    columns: np.ndarray,
    feature: Feature,
    labels: np.ndarray,
    statistics: ClassStatistics,
    line: int,
    *,
    site: str,
    layer: int,
) -> np.ndarray:
    """The best neurons by each ranking of the config, (rankings, k), from training rows alone.

    Parameters
    ----------
    config : ProbingConfig
        Rankings, sizes and seed.
    columns : ndarray of shape (units, rows)
        All activations of the layer, one neuron a line.
    feature : Feature
        Says which rows are training rows.
    labels : ndarray of bool, shape (training rows,)
        Their labels, true or permuted.
    statistics, line
        Class statistics and the line of this task in them.
    site, layer
        Enter the seed of the random neurons.

    Notes
    -----
    All rankings but `random` choose among the `prefilter` neurons of the largest absolute mean
    difference. Neurons that the l1 probe leaves at zero follow by mean difference.
    """
    units = columns.shape[0]
    k = min(config.max_k, units)
    difference = np.abs(statistics.difference[line])
    scale = scale_of(statistics.std[line]) if config.scale else None
    if scale is not None:
        difference = difference / scale
    by_difference = top(difference, config.prefilter)
    candidates = np.sort(by_difference)
    values: np.ndarray | None = None
    if {"mutual_information", "l1_logistic"} & set(config.rankings):
        values = columns[np.ix_(candidates, feature.train)].astype(np.float64)
        if scale is not None:
            values /= scale[candidates][:, None]
    supports = np.empty((len(config.rankings), k), dtype=np.int64)
    # A layer may be filtered to fewer neurons than k: the list then goes on by mean difference.
    k_ranked = min(k, candidates.size)
    rest = top(difference, k)
    for i, ranking in enumerate(config.rankings):
        if ranking == "random":
            generator = random_generator(
                config.seed, "random", site, layer, feature.collection, feature.name
            )
            supports[i] = generator.choice(units, size=k, replace=False)
            continue
        if ranking == "mean_difference":
            score = difference[candidates]
        elif ranking == "f_statistic":
            score = statistics.f_statistic[line, candidates]
        elif ranking == "mutual_information":
            assert values is not None
            score = mutual_information(
                values, labels, neighbors=config.mi_neighbors, seed=config.seed
            )
        else:
            assert values is not None
            score = _l1_score(values, labels, config.l1_C, difference[candidates])
        chosen = candidates[top(score, k_ranked)]
        supports[i, :k_ranked] = chosen
        supports[i, k_ranked:] = rest[~np.isin(rest, chosen)][: k - k_ranked]
    return supports


def _l1_score(
    values: np.ndarray, labels: np.ndarray, C: float, difference: np.ndarray
) -> np.ndarray:
    """Absolute coefficients of the l1 probe as ranks, ties by mean difference."""
    coef = np.abs(fit_elastic_net(values, labels, C=C, l1_ratio=1.0).coef)
    order = np.lexsort((np.arange(coef.size), -difference, -coef))
    score = np.empty(coef.size)
    score[order] = np.arange(coef.size, 0, -1)
    return score


def _fit_and_score(
    config: ProbingConfig,
    columns: np.ndarray,
    feature: Feature,
    control: str,
    labels: np.ndarray,
    truth: np.ndarray,
    supports: np.ndarray,
) -> LayerProbes:
    used, place = np.unique(supports, return_inverse=True)
    place = place.reshape(supports.shape)
    train = columns[np.ix_(used, feature.train)].astype(np.float64)
    test = columns[np.ix_(used, feature.test)].astype(np.float64)
    probes = fit_supports(config, train, labels, place)
    methods, k = supports.shape
    decision = probes.decide(test, place).reshape(methods * k, -1)
    metrics = score_probes(decision, truth)
    fitted = probes.decide(train, place).reshape(methods * k, -1)
    return LayerProbes(
        feature=feature,
        control=control,
        methods=tuple(config.rankings),
        supports=supports,
        probes=probes,
        metrics=Metrics(
            *(
                getattr(metrics, name).reshape(methods, k)
                for name in ("f1", "precision", "recall", "mcc", "auc")
            )
        ),
        f1_train=f1_of(fitted, labels).reshape(methods, k),
    )


def fit_supports(
    config: ProbingConfig, train: np.ndarray, labels: np.ndarray, supports: np.ndarray
) -> Probes:
    """Refit nested probes as the config says; the coefficients are for unscaled activations.

    Parameters
    ----------
    config : ProbingConfig
        `C` and `scale`.
    train : ndarray of float64, shape (units, training rows)
        Activations, one neuron a line.
    labels : ndarray of bool, shape (training rows,)
        Both classes occur.
    supports : ndarray of int, shape (supports, k)
        Lines of `train`, best first.
    """
    if not config.scale:
        return fit_probes_nested(train, labels, supports, C=config.C)
    scale = scale_of(train.std(axis=1))
    probes = fit_probes_nested(train / scale[:, None], labels, supports, C=config.C)
    return Probes(probes.coef / scale[supports][:, None, :], probes.intercept, probes.converged)
