"""All probes of one layer: rankings, refits and scores of every feature, as functions of arrays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from artneuro.probing.adaptive import adaptive_thresholding
from artneuro.probing.best_subset import best_subsets
from artneuro.probing.config import ProbingConfig, Ranking
from artneuro.probing.data import Feature, random_generator, shuffled_labels
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.logistic import Probes, fit_probes_nested, fit_probes_of
from artneuro.probing.metrics import Metrics, f1_of, score_probes
from artneuro.probing.mutual_information import mutual_information
from artneuro.probing.optimal import Certificate, optimal_supports
from artneuro.probing.rankings import ClassStatistics, class_statistics, scale_of, top

NO_CONTROL = "none"
# Rankings that look at the activations themselves and not only at the statistics of the classes.
_NEED_VALUES = {"mutual_information", "l1_logistic", "adaptive", "best_subset", "optimal"}


@dataclass(frozen=True)
class LayerProbes:
    """The probes of one feature on one layer under one control.

    Attributes
    ----------
    feature : Feature
    control : str
    methods : tuple of ranking
        The rankings, one for each support.
    supports : ndarray of int64, shape (methods, k)
        Neurons of the largest probe, best first. The smaller ones take the first of them.
    subsets : dict of ranking to ndarray of int64, shape (k, k)
        Of the methods that choose anew for each size instead: the neurons of the probe of size
        j + 1 are `subsets[method][j, :j + 1]`.
    seconds : ndarray of shape (methods,)
        CPU time of each method for all its sizes: its share of the statistics of the layer, its
        choice of neurons, and an equal share of the refits.
    probes : Probes
        Coefficients for activations as they are, whatever scaling the fit used.
    metrics : Metrics
        On the test split (its permuted labels under a control), arrays of shape (methods, k).
    f1_train : ndarray of shape (methods, k)
        Against the labels that were fitted.
    certificates : dict of ranking to list of Certificate
        Of the methods that prove something of their choice: one for each size.
    """

    feature: Feature
    control: str
    methods: tuple[Ranking, ...]
    supports: np.ndarray
    subsets: dict[Ranking, np.ndarray]
    seconds: np.ndarray
    probes: Probes
    metrics: Metrics
    f1_train: np.ndarray
    certificates: dict[Ranking, list[Certificate]]

    def neurons(self, method: int, size: int) -> np.ndarray:
        """The neurons of the probe of `size` neurons of the method at this place."""
        anew = self.subsets.get(self.methods[method])
        return (self.supports[method] if anew is None else anew[size - 1])[:size]


@dataclass(frozen=True)
class Choice:
    """The neurons that the rankings of the config choose for one task.

    `supports`, `subsets` and `certificates` are those of `LayerProbes`; `seconds` are without
    statistics of the layer and refits.
    """

    supports: np.ndarray
    subsets: dict[Ranking, np.ndarray]
    seconds: np.ndarray
    certificates: dict[Ranking, list[Certificate]] = field(default_factory=dict)


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
    started = time.thread_time()
    statistics = class_statistics(activations, positive, negative)
    share = (time.thread_time() - started) / len(tasks)
    # Rankings of the comparison are too slow to be fitted under controls as well.
    whole = config.model_copy(update={"rankings": [*config.rankings, *config.comparison.rankings]})
    found = []
    for line, (feature, control, labels, truth) in enumerate(tasks):
        used = whole if control == NO_CONTROL else config
        choice = rank_neurons(
            used, columns, feature, labels, statistics, line, site=site, layer=layer
        )
        choice.seconds[[name != "random" for name in used.rankings]] += share
        found.append(_fit_and_score(used, columns, feature, control, labels, truth, choice))
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
) -> Choice:
    """The best neurons by each ranking of the config, from training rows alone.

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
    difference. Neurons that a ranking leaves without a place follow by mean difference.
    """
    started = time.thread_time()
    units = columns.shape[0]
    k = min(config.max_k, units)
    difference = np.abs(statistics.difference[line])
    scale = scale_of(statistics.std[line]) if config.scale else None
    if scale is not None:
        difference = difference / scale
    candidates = np.sort(top(difference, config.prefilter))
    values: np.ndarray | None = None
    if _NEED_VALUES & set(config.rankings):
        values = columns[np.ix_(candidates, feature.train)].astype(np.float64)
        if scale is not None:
            values /= scale[candidates][:, None]
    # A layer may be filtered to fewer neurons than k: the list then goes on by mean difference.
    rest = top(difference, k)
    choice = Choice(
        np.empty((len(config.rankings), k), dtype=np.int64), {}, np.zeros(len(config.rankings))
    )
    shared = time.thread_time() - started
    for i, ranking in enumerate(config.rankings):
        started = time.thread_time()
        if ranking == "random":
            generator = random_generator(
                config.seed, "random", site, layer, feature.collection, feature.name
            )
            choice.supports[i] = generator.choice(units, size=k, replace=False)
        elif ranking == "best_subset":
            assert values is not None
            kept = top(difference[candidates], config.comparison.subset_prefilter)
            found = best_subsets(values[kept], labels, k, C=config.C)
            choice.subsets[ranking] = np.stack(
                [_filled(candidates[kept[s]], rest, k) for s in found]
            )
            choice.supports[i] = choice.subsets[ranking][-1]
        elif ranking == "optimal":
            assert values is not None
            kept = top(difference[candidates], config.comparison.optimal_prefilter)
            proven = optimal_supports(
                values[kept], labels, k, time_limit=config.comparison.optimal_time_limit
            )
            # Where the filter leaves fewer neurons than k, the rest follow by mean difference.
            found = [c.support for c in proven] + [proven[-1].support] * (k - len(proven))
            choice.subsets[ranking] = np.stack(
                [_filled(candidates[kept[s]], rest, k) for s in found]
            )
            choice.supports[i] = choice.subsets[ranking][-1]
            choice.certificates[ranking] = proven
        else:
            order = _order(
                ranking, config, values, labels, difference[candidates],
                statistics.f_statistic[line, candidates] if ranking == "f_statistic" else None,
            )  # fmt: skip
            choice.supports[i] = _filled(candidates[order[:k]], rest, k)
        choice.seconds[i] = time.thread_time() - started + shared * (ranking != "random")
    return choice


def _order(
    ranking: Ranking,
    config: ProbingConfig,
    values: np.ndarray | None,
    labels: np.ndarray,
    difference: np.ndarray,
    f_statistic: np.ndarray | None,
) -> np.ndarray:
    """Candidates by one ranking, best first."""
    if ranking == "mean_difference":
        return top(difference, difference.size)
    if ranking == "f_statistic":
        assert f_statistic is not None
        return top(f_statistic, difference.size)
    assert values is not None
    if ranking == "mutual_information":
        score = mutual_information(values, labels, neighbors=config.mi_neighbors, seed=config.seed)
        return top(score, difference.size)
    if ranking == "adaptive":
        kept = top(difference, config.sparsity.prefilter)
        path = adaptive_thresholding(values[kept], labels, schedule=config.sparsity.schedule)
        return kept[path.order]
    coef = np.abs(fit_elastic_net(values, labels, C=config.l1_C, l1_ratio=1.0).coef)
    return np.lexsort((np.arange(coef.size), -difference, -coef))


def _filled(chosen: np.ndarray, rest: np.ndarray, k: int) -> np.ndarray:
    """The chosen neurons, and after them as many of `rest` as make k."""
    return np.concatenate([chosen, rest[~np.isin(rest, chosen)][: k - chosen.size]])


def _fit_and_score(
    config: ProbingConfig,
    columns: np.ndarray,
    feature: Feature,
    control: str,
    labels: np.ndarray,
    truth: np.ndarray,
    choice: Choice,
) -> LayerProbes:
    started = time.thread_time()
    methods, k = choice.supports.shape
    everything = [choice.supports.ravel(), *(sets.ravel() for sets in choice.subsets.values())]
    used = np.unique(np.concatenate(everything))
    train = columns[np.ix_(used, feature.train)].astype(np.float64)
    test = columns[np.ix_(used, feature.test)].astype(np.float64)
    nested = [i for i, name in enumerate(config.rankings) if name not in choice.subsets]
    probes = Probes(
        np.zeros((methods, k, k)), np.zeros((methods, k)), np.zeros((methods, k), dtype=np.bool_)
    )
    decision = np.empty((methods, k, test.shape[1]))
    fitted = np.empty((methods, k, train.shape[1]))
    if nested:
        place = np.searchsorted(used, choice.supports[nested])
        part = fit_supports(config, train, labels, place)
        decision[nested], fitted[nested] = part.decide(test, place), part.decide(train, place)
        probes.coef[nested], probes.intercept[nested] = part.coef, part.intercept
        probes.converged[nested] = part.converged
    for name, sets in choice.subsets.items():
        i, place = config.rankings.index(name), np.searchsorted(used, sets)
        coef, intercept, converged = fit_subsets(config, train, labels, place, np.arange(1, k + 1))
        probes.coef[i], probes.intercept[i], probes.converged[i] = coef, intercept, converged
        decision[i] = np.einsum("jk,jkr->jr", coef, test[place]) + intercept[:, None]
        fitted[i] = np.einsum("jk,jkr->jr", coef, train[place]) + intercept[:, None]
    choice.seconds[:] += (time.thread_time() - started) / methods
    metrics = score_probes(decision.reshape(methods * k, -1), truth)
    return LayerProbes(
        feature=feature,
        control=control,
        methods=tuple(config.rankings),
        supports=choice.supports,
        subsets=choice.subsets,
        seconds=choice.seconds,
        probes=probes,
        metrics=Metrics(
            *(
                getattr(metrics, name).reshape(methods, k)
                for name in ("f1", "precision", "recall", "mcc", "auc")
            )
        ),
        f1_train=f1_of(fitted.reshape(methods * k, -1), labels).reshape(methods, k),
        certificates=choice.certificates,
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


def fit_subsets(
    config: ProbingConfig,
    train: np.ndarray,
    labels: np.ndarray,
    supports: np.ndarray,
    sizes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `fit_supports`, one probe a support: on its first `sizes` neurons (`fit_probes_of`)."""
    if not config.scale:
        return fit_probes_of(train, labels, supports, sizes, config.C)
    scale = scale_of(train.std(axis=1))
    coef, intercept, converged = fit_probes_of(
        train / scale[:, None], labels, supports, sizes, config.C
    )
    return coef / scale[supports], intercept, converged
