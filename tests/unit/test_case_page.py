"""Pages of case studies."""

import re

import lxml.html
import polars as pl
from matplotlib.figure import Figure

from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page


def test_a_page_shows_its_text_tables_and_figures_and_loads_nothing(tmp_path):
    figure = Figure()
    figure.add_subplot().plot([0, 1], [1, 0])
    frame = pl.DataFrame(
        {"neuron": ["L1.2", "<b>"], "loss_change": [-0.12345, None], "n": [12345, 6]}
    )
    table = Table(frame, "A row is a neuron.", {"loss_change": "Loss"}, {"loss_change": 3})
    part = Part("What happens", ("One.", "Two."), (table, Picture(figure, "A line.", "falls")))
    write_case_page(CasePage("A case", "Why & what.", (part,)), tmp_path / "case.html")

    text = (tmp_path / "case.html").read_text(encoding="utf-8")
    page = lxml.html.fromstring(text.encode())
    assert page.xpath("//h1/text()") == ["A case"]
    assert page.xpath("//p[@class='lead']/text()") == ["Why & what."]
    assert page.xpath("//section/p/text()") == ["One.", "Two."]
    assert page.xpath("//thead//th/text()") == ["neuron", "Loss", "n"]
    rows = [[c.text_content() for c in row] for row in page.xpath("//tbody/tr")]
    assert rows == [["L1.2", "−0.123", "12\u202f345"], ["<b>", "–", "6"]]
    assert page.xpath("//img/@alt") == ["falls"]
    assert all(source.startswith("data:") for source in page.xpath("//@src"))
    assert re.findall(r'href="([^"#]+)"', text) == ["index.html"]


def test_the_same_page_has_the_same_bytes(tmp_path):
    for name in ("a.html", "b.html"):
        figure = Figure()
        figure.add_subplot().hist([1, 2, 2])
        page = CasePage("T", "L", (Part("P", (), (Picture(figure, "c", "a"),)),))
        write_case_page(page, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
