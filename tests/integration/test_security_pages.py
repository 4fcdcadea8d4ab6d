"""Every page of names and texts made to harm, as markup and in a browser without its own guard.

The tables are those of the pages' own tests. While a page is built, each text of theirs that is no
word of the code gets an attack at its end; what those tests say of the page no longer holds then,
and does not matter here.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lxml import etree, html

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import test_context_neurons
import test_dynamics_page
import test_in_context_page
import test_maps_page
import test_refinement
import test_roles_page
import test_scale
import test_space_time_page
import test_superposition_page
import test_universality_page
from report_example import write_example
from test_families_page import page as families_page  # noqa: F401 - a fixture
from test_methods_page import tables as methods_tables  # noqa: F401 - a fixture
from test_refinement import refined, run  # noqa: F401 - fixtures
from test_report_browser import complaints, open_in_browser
from test_superposition_page import tables as superposition_tables  # noqa: F401 - a fixture

from artneuro.report.config import ReportConfig
from artneuro.report.methods import build_methods_page
from artneuro.report.page import build_report

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration

MARK = "document.title='RAN'"
ATTACKS = [
    f"<script>{MARK}</script>", f'"><img src=x onerror="{MARK}">', f"'><svg/onload={MARK}>",
    f"</title></style></script><script>{MARK}</script>", f'" onmouseover="{MARK}" autofocus x="',
    f"<a href=javascript:{MARK}>x</a>", f"javascript:{MARK}", "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>", "<!--", "--><b>", "]]>", "</svg>",
    "&lt;b&gt;&#60;", "{{7*7}}{% raw %}", "$x^{$ $\\evil{", "$$", "\\", "%s{0}{x}", "\u202egnp",
    "\x1b[31m\x00\x07", "<iframe srcdoc='<script>parent.document.title=1</script>'>", "`${1}`",
    "<form action=//evil.example><button>", "<style>*{display:none}</style>", "\ufffe\uffff",
]  # fmt: skip


def words_of_the_code() -> frozenset[str]:
    """Every text constant, keyword and name: what may decide something is left alone."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
    return frozenset(found)


WORDS = words_of_the_code()


def spoilt(text: str | None) -> str | None:
    """The same text gets the same attack everywhere, so that tables still fit together."""
    if not text or text in WORDS:
        return text
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    return text + ATTACKS[number % len(ATTACKS)]


def spoilt_table(table: pa.Table, keep: tuple[str, ...]) -> pa.Table:
    for i, field in enumerate(table.schema):
        values = table.column(i)
        plain = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        if field.name in keep:
            continue
        if plain:
            changed = [spoilt(v) for v in values.to_pylist()]
        elif pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            if not (
                pa.types.is_string(field.type.value_type)
                or pa.types.is_large_string(field.type.value_type)
            ):
                continue
            changed = [v if v is None else [spoilt(s) for s in v] for v in values.to_pylist()]
        else:
            continue
        table = table.set_column(i, field, pa.array(changed, field.type))
    return table


@pytest.fixture(scope="module", autouse=True)
def tables_are_spoilt() -> Iterator[dict[str, tuple[str, ...]]]:
    """Spoil what is read, but for columns named under "keep"."""
    settings: dict[str, tuple[str, ...]] = {"keep": ()}
    whole = pq.read_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "artneuro.core.artifacts.pq.read_table",
            lambda *a, **k: spoilt_table(whole(*a, **k), settings["keep"]),
        )
        yield settings


def by_test(function: Callable[[Path], Any]) -> Callable[..., None]:
    def build(folder: Path, _: Any) -> None:
        with contextlib.suppress(AssertionError):
            function(folder)

    return build


def report(folder: Path, _: Any) -> None:
    args = write_example(folder, {"code_language": ["Py<b>", "Go", "C&C"], "natural": ["German"]})
    build_report(ReportConfig(title="T" + ATTACKS[0]), **args, output=folder / "page.html")


def methods(folder: Path, fixture: Any) -> None:
    build_methods_page(**fixture("methods_tables"), output=folder / "page.html")


def superposition(folder: Path, fixture: Any) -> None:
    test_superposition_page.build(fixture("superposition_tables"), "gated", folder / "page.html")


def families(folder: Path, fixture: Any) -> None:
    (folder / "page.html").write_text(fixture("families_page"), encoding="utf-8")


PAGES: dict[str, Callable[[Path, Any], None]] = {
    "report": report,
    "methods": methods,
    "superposition": superposition,
    "families": families,
    "dynamics": by_test(test_dynamics_page.test_the_page_is_whole),
    "in_context": by_test(test_in_context_page.test_the_page_says_what_the_numbers_say),
    "maps": by_test(test_maps_page.test_the_page_says_what_the_tables_say),
    "maps_of_states": by_test(test_maps_page.test_city_and_states_have_their_maps),
    "roles": by_test(test_roles_page.test_the_page_of_a_gated_and_a_plain_model),
    "scale": by_test(test_scale.test_the_page_of_several_models_has_the_axis_of_size),
    "space_time": by_test(test_space_time_page.test_the_page_has_all_sections_and_their_numbers),
    "universality": by_test(test_universality_page.test_the_page_says_what_the_tables_say),
    "context": by_test(
        test_context_neurons.test_the_page_says_the_answer_first_and_shows_every_neuron
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_no_page_runs_or_shows_anything_but_text(name, tmp_path, request):
    PAGES[name](tmp_path, request.getfixturevalue)
    pages = list(tmp_path.rglob("*.html"))
    assert pages
    for page in pages:
        check(page, tmp_path)


def check(page: Path, folder: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tree = html.fromstring(text)
    # As markup: one script, one style sheet, no handler, no link but to places of the page.
    assert len(tree.xpath("//script")) == len(tree.xpath("//style")) == 1
    digest = hashlib.sha256(tree.xpath("//script")[0].text.encode()).digest()
    assert base64.b64encode(digest).decode() in text
    assert not tree.xpath("//iframe | //object | //embed | //base | //form | //link | //b")
    assert tree.xpath("//meta/@http-equiv") == ["Content-Security-Policy"]
    assert not [k for node in tree.iter(etree.Element) for k in node.attrib if k.startswith("on")]
    for link in tree.xpath("//@href | //@*[name()='xlink:href']"):
        assert link.startswith("#") or re.fullmatch(r"[a-z_]+\.html", link), link
    for source in tree.xpath("//@src"):
        start = "data:image/svg+xml;base64,"
        assert source.startswith(start)
        picture = etree.fromstring(base64.b64decode(source.removeprefix(start)))
        local = {etree.QName(node).localname for node in picture.iter(etree.Element)}
        assert not local & {"script", "foreignObject", "a", "set", "animate"}
        for link in picture.xpath("//@*[local-name()='href']"):
            assert link.startswith(("#", "data:image/png;base64,")), link
    # The attacks are there, as words.
    words = tree.text_content() + " ".join(tree.xpath("//@aria-label | //@title | //@alt"))
    assert any(attack[:12] in words for attack in ATTACKS), "nothing was spoilt"
    # In a browser: with the page's rule against other scripts taken away, nothing runs either.
    bare = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    assert bare != text
    copy = folder / "bare.copy.html"
    copy.write_text(bare, encoding="utf-8")
    shown, log = open_in_browser(copy, folder / "profile")
    assert shown.findtext(".//title") == tree.findtext(".//title")
    assert complaints(log) == []
    assert shown.get("data-script") == "ready"
    assert len(shown.xpath("//script")) == 1


def test_the_browser_would_run_them(tmp_path):
    # A control: put in as they are, some of them run.
    body = "".join(f"<p>{attack}</p>" for attack in ATTACKS[:3])
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>t</title>{body}", encoding="utf-8")
    shown, _ = open_in_browser(page, tmp_path / "profile")
    assert shown.findtext(".//title") == "RAN"


def test_the_page_of_texts_of_documents(run, refined, tmp_path, tables_are_spoilt):  # noqa: F811
    tables_are_spoilt["keep"] = ("collection",)
    with contextlib.suppress(AssertionError):
        test_refinement.test_the_page_shows_every_neuron_and_escapes_text(run, refined, tmp_path)
    tables_are_spoilt["keep"] = ()
    (page,) = tmp_path.rglob("*.html")
    check(page, tmp_path)
