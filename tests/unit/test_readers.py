"""Readers of corpora, on small files in the real formats."""

import gzip
import json
import logging

import polars as pl
import pytest
import zstandard
from pydantic import ValidationError

from artneuro.core.artifacts import read_table, write_json
from artneuro.core.errors import ArtneuroError, ConfigError, DataError, SourceError
from artneuro.core.sources import SourceInfo
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import DOCUMENT_SCHEMA, read_documents
from artneuro.datasets.readers.formats import brown_text, email_text, latex_text, man_text


@pytest.fixture
def read(tmp_path):
    """Read parts given as dicts; `sources` maps names to {file: text} or to a reason."""

    def run(*parts: dict, sources: dict | None = None, seed: int = 0) -> pl.DataFrame:
        folders = {}
        for name, content in (sources or {}).items():
            folder = folders[name] = tmp_path / "fetched" / name
            here = isinstance(content, dict)
            for file, data in content.items() if here else ():
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data if isinstance(data, bytes) else data.encode())
            folder.mkdir(parents=True, exist_ok=True)
            info = SourceInfo(
                name=name, registry="npm", packages=[], licence="", description="",
                available=here, reason=None if here else content, files=0, bytes=0,
            )  # fmt: skip
            write_json(info.model_dump(), folder / "source.json")
        config = CorpusConfig.model_validate(
            {"parts": [{"min_chars": 1, **part} for part in parts], "seed": seed}
        )
        output = tmp_path / "documents.parquet"
        frame = read_documents(config, folders, output, "mine")
        assert read_table(output).equals(frame)
        assert dict(frame.schema) == DOCUMENT_SCHEMA
        assert frame["document"].n_unique() == len(frame)
        return frame

    return run


def files(**changes) -> dict:
    return {"reader": "files", "subset": "code", "source": "s", **changes}


def test_files_are_decoded_filtered_and_grouped(read):
    frame = read(
        files(language="go", files=["*.go"], exclude=["*/skip/*"], group="^(.*)/", max_line=80,
              min_chars=5),
        sources={"s": {
            "p/a/one.go": b"\xef\xbb\xbfpackage one\r\n",
            "p/a/two.go": "// é\npackage two".encode("cp1252"),
            "p/b/three.go": "package three".encode("utf-16"),
            "p/b/again.go": "package one",
            "p/b/binary.go": b"\x00\x01\x02package",
            "p/b/short.go": "x",
            "p/b/minified.go": "x" * 81,
            "p/skip/not.go": "package skipped",
            "p/a/readme.md": "not code at all",
        }},
    )  # fmt: skip
    # In the order of the names; the repeated text stays where it comes first.
    assert frame.select("document", "group", "text").rows() == [
        ("code/go/s/p/a/one.go", "code/p/a", "package one"),
        ("code/go/s/p/a/two.go", "code/p/a", "// é\npackage two"),
        ("code/go/s/p/b/three.go", "code/p/b", "package three"),
    ]
    assert frame["corpus"].unique().to_list() == ["mine"]


def test_speeches_are_grouped_by_author_and_cut_at_blank_lines(read):
    speech = "\n\n".join(letter * 60 for letter in "abcde")
    frame = read(
        files(subset="speeches", group=r"/\d+-(.*)-\d+\.txt$", split_chars=100),
        sources={"s": {"d/1790-Washington-1.txt": speech, "d/1791-Washington-1.txt": "w" * 50,
                       "d/1797-Adams-1.txt": "x" * 50}},
    )  # fmt: skip
    assert frame["group"].to_list() == ["speeches/Washington"] * 3 + ["speeches/Adams"]
    pieces = frame.filter(pl.col("document").str.contains("1790"))["text"].to_list()
    assert "\n\n".join(pieces) == speech
    assert [len(piece) for piece in pieces] == [122, 184]


def page(*paragraphs: str, title: str = "t") -> str:
    body = "".join(f"<p class='paragraph'>{text}</p>\n" for text in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><title>{title}</title></head><body><p>Menu</p>"
        f"<div id='DisplayArea'>{body}<div class='embedded'><p>See also</p></div> after</div>"
        "<footer><p>This page is: x</p></footer></body></html>"
    )


def help_part(language: str, **changes) -> dict:
    return {
        "reader": "markup", "subset": "help", "language": language, "source": "h",
        "files": [f"{language}/*.html"], "group": r"/text/(.*)\.html$",
        "root": "//*[@id='DisplayArea']", "skip": ".//div[@class='embedded']", **changes,
    }  # fmt: skip


def test_parallel_pages_share_a_group_and_lose_untranslated_paragraphs(read):
    frame = read(
        help_part("sv", drop_identical_to="en"),
        help_part("en"),
        sources={"h": {
            "en/text/guide/one.html": page("Choose  <b>Insert</b>\n&amp; press F2.", "=SUM(A1:A3)"),
            "en/text/guide/two.html": page("Not translated yet."),
            "sv/text/guide/one.html": page("Välj <b>Infoga</b>.", "=SUM(A1:A3)"),
            "sv/text/guide/two.html": page("Not translated  yet."),
        }},
    )  # fmt: skip
    assert frame.select("language", "group", "text").rows() == [
        ("sv", "help/guide/one", "Välj Infoga."),
        ("en", "help/guide/one", "Choose Insert & press F2.\n=SUM(A1:A3)"),
        ("en", "help/guide/two", "Not translated yet."),
    ]


def test_mallard_pages(read):
    mallard = (
        '<?xml version="1.0" encoding="utf-8"?><page xmlns="http://projectmallard.org/1.0/" '
        'id="a"><info><desc>Kort.</desc><credit><name>N</name></credit></info><title>Titel</title>'
        "<p>Den <em>första</em> <code>x=1</code>raden.</p><steps><item><p>Steg</p></item></steps>"
        "</page>"
    )
    frame = read(
        help_part("sv", parser="xml", root="/page", skip=".//info|.//code", files=["*.page"],
                  paragraphs=".//title|.//p", group=r"([^/]*)\.page$"),
        sources={"h": {"sv/help/a.page": mallard}},
    )  # fmt: skip
    assert frame["text"].to_list() == ["Titel\nDen första raden.\nSteg"]
    assert frame["group"].to_list() == ["help/a"]


def test_external_entities_are_not_read(read, tmp_path):
    (tmp_path / "secret").write_text("hush")
    evil = f'<!DOCTYPE page [<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    frame = read(
        help_part("sv", parser="xml", root="/page", skip=None, paragraphs=".//p", files=["*"],
                  group=None),
        sources={"h": {"a.page": evil + "<page><p>Text &e;</p></page>"}},
    )  # fmt: skip
    assert frame["text"].to_list() == ["Text"]


def json_part(**changes) -> dict:
    return {"reader": "json", "subset": "j", "source": "s", **changes}


def test_json_records_of_each_kind(read):
    sources = {"s": {
        "items.json": json.dumps({"Moon": {"title": "Moon", "extract": "It orbits."},
                                  "Sun": {"title": "Sun", "extract": "It shines."}}),
        "list.json": json.dumps([{"a": {"b": "first"}, "g": "x"},
                                 {"a": {"b": "second"}, "g": "y"}]),
        "lines.jsonl": '{"t": "one\\u2028more"}\n\n{"t": "two"}\n',
        "MIT.json": json.dumps({"name": "MIT", "licenseText": "Permission is\r\ngranted."}),
    }}  # fmt: skip
    frame = read(
        json_part(subset="wiki", files=["items*"], records="items", text="extract"),
        json_part(subset="list", files=["list*"], records="items", text="a.b", group_key="g"),
        json_part(subset="lines", files=["lines*"], records="lines", text="t"),
        json_part(subset="licences", files=["MIT*"], text="licenseText"),
        sources=sources,
    )
    assert frame.select("document", "group", "text").rows() == [
        ("wiki/s/items.json:Moon", "wiki/items.json:Moon", "It orbits."),
        ("wiki/s/items.json:Sun", "wiki/items.json:Sun", "It shines."),
        ("list/s/list.json:0", "list/x", "first"),
        ("list/s/list.json:1", "list/y", "second"),
        ("lines/s/lines.jsonl:1", "lines/lines.jsonl:1", "one\u2028more"),
        ("lines/s/lines.jsonl:3", "lines/lines.jsonl:3", "two"),
        ("licences/s/MIT.json", "licences/MIT.json", "Permission is\ngranted."),
    ]


def test_factbook_profiles_become_outlines(read):
    profile = {
        "Geography": {"Location": {"text": "Northern Europe"},
                      "Area": {"total": {"text": "9 sq km"}, "note": "small"}},
        "Economy": {"Overview": {"text": "Grows."}, "empty": {"text": " "}},
    }  # fmt: skip
    frame = read(json_part(), sources={"s": {"europe/sw.json": json.dumps(profile)}})
    assert frame["text"].to_list() == [
        "Geography\nLocation: Northern Europe\nArea\ntotal: 9 sq km\nnote: small"
        "\n\nEconomy\nOverview: Grows."
    ]


MESSAGE = """From someone@example.org  Thu Aug 22 12:36:23 2002
From: A <a@example.org>
Subject: Re: [list] Re: Raising Chickens
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="b"

--b
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

It is caf=E9 time.
--b
Content-Type: text/html

<p>It is time.</p>
--b--
"""


def test_email_bodies_are_grouped_by_subject(read):
    frame = read(
        json_part(format="email", text="text"),
        sources={"s": {"1.json": json.dumps({"id": "1", "text": MESSAGE}),
                       "2.json": json.dumps({"text": "Subject: raising  chickens\n\nNo."}),
                       "3.json": json.dumps({"id": "3", "text": "X-A: b\n\nYes."})}},
    )  # fmt: skip
    assert frame.select("group", "text").rows() == [
        ("j/raising chickens", "It is café time."),
        ("j/raising chickens", "No."),
        ("j/3.json", "Yes."),
    ]
    assert email_text("Content-Type: text/html\n\n<p>x</p>") == ("", None)


def test_brown_tags_are_taken_off():
    tagged = (
        "\n\n\tThe/at jury/nn said/vbd ``/`` no/at evidence/nn ''/'' that/cs either/or/cc (/( A/np"
        " )/) did/vbd it/ppo ./.\n\n\n\tWho/wps ,/, me/ppo ?/. ?/.\n"
    )
    assert (
        brown_text(tagged) == 'The jury said "no evidence" that either/or (A) did it.\n\nWho, me?'
    )


def test_latex_keeps_the_body_without_comments_and_code():
    source = (
        "\\documentclass{article}\n%\\VignetteIndexEntry{x}\n\\begin{document}\n"
        "Text $x_1$ 5\\% more. % note\nnext\n% only a note\nline.\n<<echo=FALSE>>=\nplot(1)\n@ \n"
        "\nEnd \\Sexpr{1}.\n\\end{document}\njunk"
    )
    assert latex_text(source) == "Text $x_1$ 5\\% more.\nnext\nline.\n\nEnd \\Sexpr{1}."
    assert latex_text("\\chapter{One}\nNo preamble.") == "\\chapter{One}\nNo preamble."


ROFF = r"""'\" t
.\" Copyright
.TH fopen 3 2023-02-05 "Linux man-pages 6.03"
.SH NAME
fopen \- stream open
.SH SYNOPSIS
.nf
.B #include <stdio.h>
.PP
.BI "FILE *fopen(const char *restrict " pathname \
", const char *" mode );
.fi
.SH DESCRIPTION
The
.BR fopen ()
function opens \fIpathname\fP \(em it\(aqs \e0 and
.IR "a b" .
.TP
.B r+
Open for
reading.
.TS
a b
.TE
.IP \[bu] 3
Last \f(CWpoint\fR\&.\" gone
"""


def test_manual_pages_become_text():
    assert man_text(ROFF) == (
        "NAME\nfopen - stream open\n\nSYNOPSIS\n#include <stdio.h>\n\n"
        "FILE *fopen(const char *restrict pathname, const char *mode);\n\nDESCRIPTION\n"
        "The fopen() function opens pathname — it's \\0 and a b.\n\nr+\nOpen for reading.\n\n"
        "Last point."
    )
    assert man_text(".so man3/fopen.3\n") == ""
    assert man_text(".Dd July 1\n.Sh NAME\n") == ""


PILE = [
    {"text": "def f(): pass", "meta": {"pile_set_name": "Github", "language": "Python"}},
    {"text": "A court ruled.", "meta": {"pile_set_name": "FreeLaw"}},
    {"text": "An abstract.", "meta": {"pile_set_name": "PubMed Abstracts"}},
]


def pile_bytes(suffix: str) -> bytes:
    plain = "".join(json.dumps(record) + "\n" for record in PILE).encode()
    if suffix == ".zst":
        half = plain.index(b"\n") + 1
        # Two frames, as parallel compressors write them.
        return b"".join(zstandard.compress(piece) for piece in (plain[:half], plain[half:]))
    return gzip.compress(plain) if suffix == ".gz" else plain


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_pile_records_from_a_local_path(read, tmp_path, suffix):
    path = tmp_path / f"test.jsonl{suffix}"
    path.write_bytes(pile_bytes(suffix))
    frame = read({"reader": "pile", "path": str(path)})
    assert frame.select("subset", "language", "text").rows() == [
        ("Github", "Python", "def f(): pass"),
        ("FreeLaw", None, "A court ruled."),
        ("PubMed Abstracts", None, "An abstract."),
    ]
    assert frame["group"].n_unique() == 3
    only = read({"reader": "pile", "path": str(tmp_path / "*.jsonl*"), "pile_subsets": ["FreeLaw"]})
    assert only["text"].to_list() == ["A court ruled."]


def test_pile_samples_are_per_subset_seeded_and_uniform(read, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(
        json.dumps({"text": f"{name} {i}", "meta": {"pile_set_name": name}}) + "\n"
        for i in range(40) for name in ("a", "b")
    ))  # fmt: skip
    part = {"reader": "pile", "path": str(path), "max_documents": 10}
    one, again, other = read(part), read(part), read(part, seed=1)
    assert one.equals(again)
    assert not one.equals(other)
    assert one["subset"].value_counts(sort=True)["count"].to_list() == [10, 10]
    # A uniform sample of 0..39 has its mean near 19.5 over many seeds (standard error about 0.4).
    drawn = [int(text.split()[1]) for seed in range(40) for text in read(part, seed=seed)["text"]]
    assert abs(sum(drawn) / len(drawn) - 19.5) < 2
    first = read({**part, "sample": False, "pile_subsets": ["a", "b"]})
    assert first["text"].to_list() == [f"{name} {i}" for i in range(10) for name in ("a", "b")]


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"text": "a", "meta": {}}\n{"text": \n', 2), (b'\n\n["no record"]\n', 3)],
)
def test_broken_pile_lines_are_named(read, tmp_path, content, line):
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.jsonl, line {line}"):
        read({"reader": "pile", "path": str(path), "subset": "x"})


def test_truncated_archives_are_named(read, tmp_path):
    for suffix in (".gz", ".zst"):
        path = tmp_path / f"cut.jsonl{suffix}"
        path.write_bytes(pile_bytes(suffix)[:-12])
        with pytest.raises(ArtneuroError, match=rf"cut\.jsonl\{suffix}"):
            read({"reader": "pile", "path": str(path)})


def test_broken_json_file_and_missing_key_are_named(read):
    with pytest.raises(DataError, match=r"bad\.json, line 3"):
        read(json_part(files=["bad*"]), sources={"s": {"bad.json": '{\n"a": 1,\n!}'}})
    with pytest.raises(DataError, match=r"'t'.*\n.*good\.json"):
        read(json_part(files=["good*"], text="t"), sources={"s": {"good.json": '{"a": "x"}'}})
    with pytest.raises(DataError, match=r"lines\.jsonl, line 2"):
        read(json_part(files=["lines*"], records="lines"), sources={"s": {"lines.jsonl": '1\n{"'}})


def test_unavailable_source_is_left_out_with_a_warning(read, caplog):
    parts = [
        files(subset="a"),
        files(subset="b", source="gone"),
        files(subset="b", source="stand-in", only_without="gone"),
        files(subset="c", source="stand-in", only_without="s"),
    ]
    caplog.set_level(logging.WARNING)
    frame = read(*parts, sources={"s": {"x": "one"}, "gone": "no apt", "stand-in": {"y": "two"}})
    assert frame.select("subset", "text").rows() == [("a", "one"), ("b", "two")]
    assert "goes without b" in caplog.text
    assert "no apt" in caplog.text
    with pytest.raises(SourceError, match="none of the sources"):
        read(parts[1], sources={"gone": "no apt"})


def test_local_folder_file_and_glob(read, tmp_path):
    for name in ("a/x.txt", "a/b/y.txt", "a/b/z.md"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(name)
    part = {"reader": "files", "subset": "mine"}
    root = tmp_path / "in"
    for path, expected in (
        (root, ["a/b/y.txt", "a/b/z.md", "a/x.txt"]),
        (root / "a" / "x.txt", ["a/x.txt"]),
        (root / "**" / "*.txt", ["a/b/y.txt", "a/x.txt"]),
    ):
        assert read({**part, "path": str(path)})["text"].to_list() == expected
    with pytest.raises(ConfigError, match="does not exist"):
        read({**part, "path": str(root / "nowhere")})


def test_parts_that_match_or_give_nothing_are_errors(read):
    with pytest.raises(DataError, match="matches"):
        read(files(files=["*.rs"]), sources={"s": {"x.go": "text"}})
    with pytest.raises(DataError, match="gives no document"):
        read(files(min_chars=100), sources={"s": {"x.go": "text"}})
    with pytest.raises(ConfigError, match="group pattern"):
        read(files(group="page-(.*)"), sources={"s": {"x.go": "text"}})
    with pytest.raises(ConfigError, match="not fetched"):
        read(files(source="other"), sources={"s": {"x.go": "text"}})
    with pytest.raises(ConfigError, match="not an XPath"):
        read(help_part("sv", skip="!!"), sources={"h": {"sv/text/a.html": page("x")}})


@pytest.mark.parametrize(
    "part",
    [
        files(path="also"),
        {"reader": "files", "subset": "x"},
        files(group="no group"),
        files(group="(open"),
        help_part("sv", drop_identical_to="en"),
        {"reader": "pile", "hub": "a/b", "path": "c"},
        {"reader": "scroll", "subset": "x", "source": "s"},
    ],
)
def test_wrong_parts_are_refused(part):
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate({"parts": [part]})
