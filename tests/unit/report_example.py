"""A small made-up run in the schemas of docs/architecture.md, for the tests of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import sidecar_path, write_json, write_table

METHODS = ("mean_difference", "f_statistic", "mutual_information", "l1_logistic", "random")
MODEL, SHA = "tiny-lm", "ab" * 32
N_BINS = 20


def make_scores(
    features: dict[str, list[str]],
    dataset: str = "text",
    layers: int = 6,
    ks: tuple[int, ...] = (1, 2, 3, 4, 8),
    seed: int = 0,
) -> pl.DataFrame:
    """Scores in which each feature has a best layer and random neurons and shuffles are worse."""
    rng = np.random.default_rng(seed)
    rows = []
    for collection, names in features.items():
        for name in names:
            peak, height = rng.integers(layers), rng.uniform(0.75, 0.99)
            for layer in range(layers):
                for method in METHODS:
                    for k in ks:
                        for control in ("none", "shuffled_labels"):
                            top = height - 0.06 * abs(layer - peak) + 0.02 * np.log2(k)
                            if method == "random":
                                top -= 0.3
                            if control != "none":
                                top = 0.22
                            f1 = float(np.clip(top + rng.normal(0, 0.02), 0, 1))
                            rows.append(
                                {
                                    "model": MODEL,
                                    "dataset": dataset,
                                    "site": "mlp_post",
                                    "collection": collection,
                                    "feature": name,
                                    "layer": layer,
                                    "method": method,
                                    "k": k,
                                    "control": control,
                                    "neurons": rng.integers(0, 64, k).tolist(),
                                    "coef": rng.normal(size=k).tolist(),
                                    "intercept": 0.0,
                                    "f1": f1,
                                    "precision": min(1.0, f1 + 0.03),
                                    "recall": max(0.0, f1 - 0.03),
                                    "mcc": f1 - 0.1,
                                    "auc": min(1.0, f1 + 0.05),
                                    "f1_train": float(np.clip(f1 + rng.normal(0, 0.02), 0, 1)),
                                    "n_train": 210,
                                    "n_test": 90,
                                    "n_train_positive": 24,
                                    "n_test_positive": 10,
                                    "converged": True,
                                }
                            )
    return pl.DataFrame(rows).with_columns(
        pl.col("layer").cast(pl.Int16), pl.col("k").cast(pl.Int8)
    )


def make_neurons(scores: pl.DataFrame, ranks: int = 3, seed: int = 1) -> pl.DataFrame:
    """Best neurons by train F1, with histograms of two normal distributions."""
    rng = np.random.default_rng(seed)
    single = scores.filter(
        (pl.col("k") == 1) & (pl.col("control") == "none") & (pl.col("method") != "random")
    )
    rows = []
    for _, group in single.group_by(["collection", "feature"], maintain_order=True):
        top = group.sort("f1_train", descending=True).head(ranks)
        for rank, row in enumerate(top.iter_rows(named=True), 1):
            inside, outside = rng.normal(1.2, 0.3, 24), rng.normal(0.1, 0.3, 186)
            edges = np.linspace(
                min(inside.min(), outside.min()), max(inside.max(), outside.max()), N_BINS + 1
            )
            keep = ("model", "dataset", "site", "collection", "feature", "layer", "f1", "precision")
            rows.append(
                {key: row[key] for key in (*keep, "recall", "mcc", "auc", "f1_train")}
                | {
                    "neuron": row["neurons"][0],
                    "rank": rank,
                    "mean_in": float(inside.mean()),
                    "mean_out": float(outside.mean()),
                    "edges": edges.tolist(),
                    "counts_in": np.histogram(inside, edges)[0].tolist(),
                    "counts_out": np.histogram(outside, edges)[0].tolist(),
                }
            )
    return pl.DataFrame(rows)


def make_transfer(scores: pl.DataFrame, dataset: str = "other") -> pl.DataFrame:
    """The best neuron of each feature on another dataset, a little worse there."""
    best = make_neurons(scores, ranks=1)
    return best.select(
        "model",
        pl.lit(dataset).alias("dataset"),
        pl.col("dataset").alias("source"),
        *("site", "collection", "feature", "layer", "neuron"),
        pl.col("f1").alias("f1_source"),
        (pl.col("f1") - 0.05).alias("f1_frozen"),
        *(pl.col(name).alias(f"{name}_frozen") for name in ("precision", "recall", "auc")),
        (pl.col("f1") - 0.02).alias("f1_refit"),
        pl.lit(40).alias("n_test"),
        pl.lit(8).alias("n_test_positive"),
    )


def write_example(
    root: Path, features: dict[str, list[str]] | None = None, **sizes: object
) -> dict[str, list[Path]]:
    """Write a whole run below `root`; gives the arguments of `build_report`."""
    features = features or {
        "natural_language": ["German", "French", "Swedish"],
        "code_language": ["Python", "Go"],
    }
    results, fetched = root / "results", root / "resources/fetched"
    scores = make_scores(features, **sizes)
    tables = {
        results / f"probing/{MODEL}/text/scores.parquet": scores,
        results / f"probing/{MODEL}/text/best_neurons.parquet": make_neurons(scores),
        results / f"datasets/{MODEL}/text/sequences.parquet": pl.DataFrame(
            {
                "sequence": range(30),
                "document": [f"d{i // 2}" for i in range(30)],
                "corpus": "demo",
                "n_tokens": [64] * 30,
                "split": ["train"] * 21 + ["test"] * 9,
            }
        ),
        results / f"datasets/{MODEL}/text/labels.parquet": pl.DataFrame(
            [(c, f) for c, names in features.items() for f in names],
            schema=["collection", "feature"],
            orient="row",
        ),
        results / f"activations/{MODEL}/text/rows.parquet": pl.DataFrame({"row": range(300)}),
        results / f"probing/{MODEL}/other/transfer.parquet": make_transfer(scores),
    }
    for path, table in tables.items():
        write_table(table, path)
    model = results / f"models/{MODEL}/model.json"
    model.parent.mkdir(parents=True)
    write_json(
        {
            "architecture": "llama", "n_layers": 6, "d_model": 32, "d_mlp": 64, "n_heads": 4,
            "n_kv_heads": 4, "vocab": 100, "n_ctx": 128, "n_parameters": 134515008,
            "dtype": "float32", "source": "pypi", "revision": "0.1.2", "sha256": SHA,
        },
        model,
    )  # fmt: skip
    for source, reason in (("help-pages", None), ("manual-pages", "there is no apt-get here")):
        (fetched / source).mkdir(parents=True)
        write_json(
            {
                "name": source, "registry": "debian", "licence": "MPL-2.0",
                "packages": [{"name": source, "version": "1.0", "sha256": SHA}],
                "description": f"Pages of {source}.", "available": reason is None,
                "reason": reason, "files": 0 if reason else 3, "bytes": 10,
            },
            fetched / source / "source.json",
        )  # fmt: skip
    paths = list(tables)
    asked = {"dataset": {"collection": {"classes": ["German", "Klingon"]}}}
    _sidecar(paths[3], "label_features", {"dataset": "text"}, [paths[2]], 1, asked)
    _sidecar(fetched / "help-pages", "fetch_source", {"source": "help-pages"}, [], 2)
    _sidecar(model, "fetch_model", {"model": MODEL}, [], 21.4)
    _sidecar(paths[2], "build_tokens", {"dataset": "text"}, [fetched / "help-pages"], 5)
    _sidecar(paths[4], "dump_activations", {"dataset": "text"}, [model, paths[2]], 190)
    _sidecar(paths[0], "fit_probes", {"dataset": "text"}, [paths[4]], 95)
    return {
        "models": [model],
        "scores": [paths[0]],
        "best_neurons": [paths[1]],
        "transfer": [paths[5]],
        "sequences": [paths[2]],
        "labels": [paths[3]],
        "rows": [paths[4]],
        "sources": [fetched / "help-pages", fetched / "manual-pages"],
    }


def _sidecar(
    artifact: Path,
    rule: str,
    wildcards: dict,
    inputs: list[Path],
    seconds: float,
    config: dict | None = None,
) -> None:
    write_json(
        {
            "artneuro_provenance": 1,
            "artifact": str(artifact),
            "rule": rule,
            "wildcards": wildcards,
            "config": config or {},
            "inputs": [{"path": str(path), "sha256": SHA} for path in inputs],
            "git": {"commit": "0123456789abcdef", "dirty": True},
            "versions": {"python": "3.11", "torch": "2.13.0"},
            "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
            "started": "2026-01-01T10:00:00.000+00:00",
            "ended": f"2026-01-01T10:{int(seconds // 60):02d}:{seconds % 60:06.3f}+00:00",
        },
        sidecar_path(artifact),
    )
