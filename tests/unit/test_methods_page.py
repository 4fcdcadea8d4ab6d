"""The page about methods of choosing neurons."""

import lxml.html
import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.probing.comparison import ALL_METHODS_SCHEMA
from artneuro.probing.enumeration import PRUNING_SCHEMA, SINGLE_SCHEMA
from artneuro.probing.sparsity import SPARSITY_SCHEMA
from artneuro.report.methods import build_methods_page

PLACE = {"model": "m", "dataset": "d", "site": "mlp_post", "collection": "c"}


def table(schema, rows):
    """Rows of a schema; columns that are not given are null."""
    return pl.DataFrame([{n: row.get(n) for n in schema.names()} for row in rows], schema=schema)


@pytest.fixture
def tables(tmp_path):
    methods = [
        {"site": "mlp_post", "method": method, "k": k, "pairs": 1, "features": 2, "f1": f1,
         "f1_best_layer": f1, "seconds": seconds}
        for method, k, f1, seconds in [
            ("mean_difference", 1, 0.8, 0.002), ("mean_difference", 2, 0.875, 0.002),
            ("random", 1, 0.5, 0.001), ("random", 2, 0.525, 0.001),
        ]
    ]  # fmt: skip
    sparsity = [
        {**PLACE, "feature": "f", "layer": 0, "basis": basis, "k": k, "f1": f1, "f1_train": f1,
         "f1_std": 0.0}
        for basis, k, f1 in [("neurons", 1, 0.9), ("neurons", 2, 1.0), ("random", 1, 0.5)]
    ]  # fmt: skip
    single = [
        {**PLACE, "feature": feature, "layer": layer, "neuron": neuron, "f1": f1, "f1_train": train}
        for feature, layer, neuron, f1, train in [
            ("easy", 0, 7, 0.95, 0.9), ("easy", 1, 8, 0.92, 0.99), ("easy", 1, 9, 0.4, 0.5),
            ("hard", 0, 3, 0.6, 0.7),
        ]
    ]  # fmt: skip
    pruning = [
        {**PLACE, "feature": feature, "layer": layer, "round": i, "neurons": [1, 2, 3],
         "redundant": redundant}
        for feature, layer, i, redundant in [
            ("easy", 0, 1, True), ("easy", 0, 2, False),
            ("easy", 1, 1, True), ("easy", 1, 2, True), ("easy", 1, 3, False),
            ("hard", 0, 1, True),
        ]
    ]  # fmt: skip
    made = {
        "methods": table(ALL_METHODS_SCHEMA, methods),
        "sparsity": table(SPARSITY_SCHEMA, sparsity),
        "single_neurons": table(SINGLE_SCHEMA, single),
        "pruning": table(PRUNING_SCHEMA, pruning),
    }
    paths = {name: tmp_path / f"{name}.parquet" for name in made}
    for name, frame in made.items():
        write_table(frame, paths[name])
    return {n: p if n == "methods" else [p] for n, p in paths.items()}


def rows_of(page, number):
    """Texts of the cells of a table of the page."""
    return [[c.text_content() for c in row] for row in page.xpath("//table")[number].xpath(".//tr")]


def test_the_page_tells_the_scores_and_how_many_neurons_there_are(tables, tmp_path):
    build_methods_page(**tables, output=tmp_path / "methods.html")
    page = lxml.html.fromstring((tmp_path / "methods.html").read_bytes())
    assert rows_of(page, 0) == [
        ["method", "k = 1", "k = 2", "CPU time, ms"],
        ["Mean difference", "0.800", "0.875", "2.0"],
        ["Random neurons", "0.500", "0.525", "1.0"],
    ]
    # easy: two neurons of F1 0.9 or more in two layers, two redundant sets in layer 1.
    assert rows_of(page, 1)[1:] == [
        ["easy", "m", "d", "L1.8", "0.92", "2", "2", "2"],
        ["hard", "m", "d", "L0.3", "0.60", "0", "0", "1"],
    ]
    assert len(page.xpath("//img")) == 1


def test_a_page_without_curves_and_lists_has_the_rankings_alone(tables, tmp_path):
    build_methods_page(methods=tables["methods"], output=tmp_path / "methods.html")
    page = lxml.html.fromstring((tmp_path / "methods.html").read_bytes())
    assert page.xpath("//h2/text()") == ["Rankings compared"]


def test_an_empty_comparison_is_an_error(tables, tmp_path):
    write_table(table(ALL_METHODS_SCHEMA, []), tables["methods"])
    with pytest.raises(DataError, match="no methods were compared"):
        build_methods_page(methods=tables["methods"], output=tmp_path / "methods.html")
