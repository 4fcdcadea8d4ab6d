"""The numbers of the page of maps: how far predictions are from the truth, and where.

Predictions are those of the split test throughout, unless a function says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.spacetime.metrics import SPACE, TIME, great_circle_km


@dataclass(frozen=True)
class Study:
    """Predictions of one model for one table of entities, and what else is known of them.

    Attributes
    ----------
    model, entities, kind : str
        `kind` is "world", "usa", "city" or "time".
    rows : DataFrame
        Table `predictions` with `colour` and, where known, `popularity`.
    scores : DataFrame
        Rows of the table `scores` of the same; may be empty.
    holdouts : DataFrame
        Rows of the table `holdouts` of the same; may be empty.
    """

    model: str
    entities: str
    kind: str
    rows: pl.DataFrame
    scores: pl.DataFrame
    holdouts: pl.DataFrame

    @property
    def test(self) -> pl.DataFrame:
        """Rows that the probe was not fitted on."""
        return self.rows.filter(pl.col("split") == "test")

    @property
    def layer(self) -> int:
        """The layer that the predictions are from."""
        return int(self.rows["layer"][0])

    @property
    def targets(self) -> tuple[str, ...]:
        """What is predicted."""
        return TIME if self.kind == "time" else SPACE

    def score(self, probe: str) -> dict | None:
        """The row of `scores` of the layer's linear probe, or of a baseline; None without it."""
        rows = self.scores.filter(pl.col("probe") == probe)
        if probe == "linear":
            rows = rows.filter(pl.col("layer") == self.layer)
        return rows.row(0, named=True) if rows.height else None


def r2_of(rows: pl.DataFrame, targets: tuple[str, ...]) -> list[float]:
    """Share of variance explained, for each target, NaN where it does not vary."""
    found = []
    for target in targets:
        truth, guess = rows[target].to_numpy(), rows[f"predicted_{target}"].to_numpy()
        total = float(((truth - truth.mean()) ** 2).sum())
        found.append(1 - float(((truth - guess) ** 2).sum()) / total if total else float("nan"))
    return found


def errors_of(rows: pl.DataFrame, targets: tuple[str, ...]) -> np.ndarray:
    """How far each prediction is off, in kilometres or years, (n,)."""
    if targets == TIME:
        return np.abs((rows["predicted_time"] - rows["time"]).to_numpy())
    return great_circle_km(
        latitude_a=rows["latitude"].to_numpy(),
        longitude_a=rows["longitude"].to_numpy(),
        latitude_b=rows["predicted_latitude"].to_numpy(),
        longitude_b=rows["predicted_longitude"].to_numpy(),
    )


def mean_guess_error(rows: pl.DataFrame, targets: tuple[str, ...]) -> float:
    """Median error on the test rows of a guess that is the mean of the train rows for all."""
    train = rows.filter(pl.col("split") == "train")
    guess = rows.filter(pl.col("split") == "test").with_columns(
        pl.lit(train[target].mean()).alias(f"predicted_{target}") for target in targets
    )
    return float(np.median(errors_of(guess, targets)))


def spread_ratios(rows: pl.DataFrame, targets: tuple[str, ...]) -> list[float]:
    """Standard deviation of the predictions over that of the truth: below 1 they are drawn in."""
    return [
        float(np.std(rows[f"predicted_{target}"].to_numpy()) / np.std(rows[target].to_numpy()))
        for target in targets
    ]


def errors_by(rows: pl.DataFrame, column: str, targets: tuple[str, ...]) -> pl.DataFrame:
    """Errors of each group, the largest group first.

    Returns
    -------
    DataFrame
        `column`, `n`; `median` and `upper_quartile` of the errors in kilometres or years; and
        `shift_{target}`, the mean of predicted less true, in degrees or years.
    """
    shifts = [
        (pl.col(f"predicted_{target}") - pl.col(target)).mean().alias(f"shift_{target}")
        for target in targets
    ]
    return (
        rows.with_columns(pl.Series("_error", errors_of(rows, targets)))
        .drop_nulls(column)
        .group_by(column)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("_error").median().alias("median"),
            pl.col("_error").quantile(0.75, "linear").alias("upper_quartile"),
            *shifts,
        )
        .sort("n", column, descending=[True, False])
    )


def area_medians(rows: pl.DataFrame, column: str, at_least: int) -> pl.DataFrame:
    """Medians of the true and the predicted coordinates of each area with enough rows.

    Returns
    -------
    DataFrame
        `column`, `n`, `colour` (the most frequent one), the medians under the columns' own names,
        and `distance_km` between them; the largest area first.
    """
    names = [name for target in SPACE for name in (target, f"predicted_{target}")]
    found = (
        rows.drop_nulls(column)
        .group_by(column)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("colour").mode().sort().first(),
            *(pl.col(name).median() for name in names),
        )
        .filter(pl.col("n") >= at_least)
        .sort("n", column, descending=[True, False])
    )
    return found.with_columns(pl.Series("distance_km", errors_of(found, SPACE), dtype=pl.Float64))


def running_quantiles(
    x: np.ndarray, y: np.ndarray, window: int, quantiles: tuple[float, ...] = (0.25, 0.5, 0.75)
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of y over windows of `window` points next to each other in x.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
    window : int
        Points of a window; windows overlap by half. With fewer points there is one window.
    quantiles : tuple of float

    Returns
    -------
    centres : ndarray of shape (n_windows,)
        Median of x in each window.
    values : ndarray of shape (n_windows, n_quantiles)
    """
    order = np.argsort(x, kind="stable")
    window = min(window, len(x))
    starts = list(range(0, len(x) - window + 1, max(1, window // 2)))
    if starts[-1] + window < len(x):
        starts.append(len(x) - window)
    picked = [order[start : start + window] for start in starts]
    centres = np.array([np.median(x[rows]) for rows in picked])
    return centres, np.array([np.quantile(y[rows], quantiles) for rows in picked])


def has_popularity(rows: pl.DataFrame) -> bool:
    """Whether the popularity of any row is known."""
    return "popularity" in rows.columns and rows["popularity"].null_count() < rows.height


def notable(rows: pl.DataFrame, count: int, seed: int = 0) -> pl.DataFrame:
    """Up to `count` rows to name one by one: the most popular, without popularity drawn at random.

    Each colour has the same share of them, as far as it has rows, so that no continent is all that
    is seen. The errors play no part in the choice.

    Parameters
    ----------
    rows : DataFrame
        With `colour`.
    count : int
        At least one of each colour is taken.
    seed : int
        Of the draw, where nothing is popular.
    """
    each = max(1, count // rows["colour"].n_unique())
    if has_popularity(rows):
        order = rows.drop_nulls("popularity").sort("popularity", "name", descending=[True, False])
    else:
        order = rows.sample(fraction=1, shuffle=True, seed=seed)
    return order.group_by("colour", maintain_order=True).head(each).select(rows.columns)


def drawn_rows(rows: pl.DataFrame, most: int, seed: int = 0) -> pl.DataFrame:
    """At most `most` rows, drawn with `seed`, for maps that cannot hold all."""
    return rows if rows.height <= most else rows.sample(most, seed=seed)
