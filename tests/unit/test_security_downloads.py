"""Archives and servers that mean harm: nothing lands elsewhere, nothing runs on, no traceback."""

from __future__ import annotations

import contextlib
import http.server
import io
import random
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import TypeAdapter, ValidationError
from test_sources import config, make_deb, make_tar, make_zip, sha256, url_config

from artneuro.core import archives, registries
from artneuro.core.archives import is_archive, unpack
from artneuro.core.errors import DataError, SourceError
from artneuro.core.registries import NetworkFailure, Unavailable
from artneuro.core.sources import fetch_source, pinned_download
from artneuro.core.web import problem_of
from artneuro.datasets.corpus_config import AnyPart
from artneuro.datasets.dbpedia_config import DbpediaConfig
from artneuro.datasets.entities_config import AnyEntityPart
from artneuro.datasets.pageviews import _read_views
from artneuro.datasets.pageviews_config import RequestedPageviews
from artneuro.datasets.polite_config import PoliteConfig
from artneuro.datasets.polite_http import BadAnswer, PoliteClient
from artneuro.datasets.readers import pile
from artneuro.datasets.readers.pile import _ZstdStream
from artneuro.datasets.sparql import SparqlClient, read_results

PLAIN = {"a/x.txt": b"one" * 100, "a/y.bin": bytes(range(256)) * 9, "z.txt": b"3"}


def deflated(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zstd(entries: dict[str, bytes]) -> bytes:
    return zstandard.ZstdCompressor().compress(make_tar(entries, mode="w"))


def tar_of(*infos: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": make_zip,
    "deflated": deflated,
    "tar": lambda entries: make_tar(entries, mode="w"),
    "gzip": make_tar,
    "bzip2": lambda entries: make_tar(entries, mode="w:bz2"),
    "xz": lambda entries: make_tar(entries, mode="w:xz"),
    "zstandard": zstd,
    "debian": make_deb,
}


@pytest.fixture
def put(tmp_path):
    """Write an archive, and give it with a folder to unpack in that lies deep in another."""

    def write(data: bytes) -> tuple[Path, Path]:
        file, target = tmp_path / "archive", tmp_path / "deep" / "er" / "out"
        file.write_bytes(data)
        target.mkdir(parents=True, exist_ok=True)
        return file, target

    return write


def outside(folder: Path) -> list[Path]:
    """Files that are neither the archive nor in the folder to unpack in."""
    target = folder / "deep" / "er" / "out"
    found = [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
    return [p for p in found if p.name != "archive" and target not in p.parents]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "a\\..\\..\\evil", "C:\\evil", "C:evil",
     "//server/evil", "./../evil"],
)  # fmt: skip
def test_no_entry_leads_out(kind, name, put, tmp_path):
    file, target = put(KINDS[kind]({"fine.txt": b"1", name: b"evil"}))
    with pytest.raises(SourceError, match="leads outside"):
        unpack(file, target)
    assert outside(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_unpacked(kind, put):
    file, target = put(KINDS[kind](PLAIN))
    assert is_archive(file)
    assert unpack(file, target) == sorted(target / name for name in PLAIN)
    assert all((target / name).read_bytes() == data for name, data in PLAIN.items())


def test_links_devices_and_pipes_of_a_tar_are_left_out(put, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("keep out")
    data = tar_of(
        entry("link", tarfile.SYMTYPE, str(secret)),
        entry("folder", tarfile.SYMTYPE, str(tmp_path)),
        entry("hard", tarfile.LNKTYPE, "../../../secret"),
        entry("device", tarfile.CHRTYPE),
        entry("disk", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("folder/written-through", size=4),
        entry("link", size=4),
    )
    file, target = put(data)
    # What goes "through" a link lands in a plain folder of its name.
    assert unpack(file, target) == [target / "folder" / "written-through", target / "link"]
    assert not (target / "folder").is_symlink()
    assert secret.read_text() == "keep out"
    assert [p for p in outside(tmp_path) if p != secret] == []


def test_links_of_a_zip_are_left_out(put, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("etc")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path))
        archive.writestr("etc/evil", "evil")
    file, target = put(buffer.getvalue())
    assert unpack(file, target) == [target / "etc" / "evil"]
    assert not (target / "etc").is_symlink()
    assert outside(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_stopped_at_its_bound(kind, put):
    file, target = put(KINDS[kind]({"bomb": bytes(8 << 20)}))
    with pytest.raises(SourceError, match="more than 1000000 bytes"):
        unpack(file, target, max_bytes=1_000_000)
    assert sum(p.stat().st_size for p in target.rglob("*")) <= 1_000_000


def test_entries_that_are_not_kept_are_bounded_too(put, monkeypatch):
    monkeypatch.setattr(archives, "MAX_READ_BYTES", 1 << 20)
    file, target = put(tar_of(entry("unwanted", size=4 << 20), entry("wanted")))
    with pytest.raises(SourceError, match="unpacks to more than 1048576 bytes"):
        unpack(file, target, keep=["wanted"])
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    names = "abcdefghijk"
    for data in (tar_of(*map(entry, names)), make_zip(dict.fromkeys(names, b""))):
        file, target = put(data)
        with pytest.raises(SourceError, match="more than 10 entries"):
            unpack(file, target, keep=["none"])


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_huge_name_is_not_read_into_memory(kind, put):
    # The library reads a note about an entry as a whole; this one claims a terabyte.
    header = entry("note", kind)
    header.size = 1 << 40
    fine = make_tar({"x": b"1"}, mode="w")[: 2 * 512]
    file, target = put(fine + header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(SourceError, match="a note about an entry has 1099511627776 bytes"):
        unpack(file, target)


@pytest.mark.parametrize("size", ["-60", "1_0", "0x10", "", "9999999999", "١٢"])
def test_odd_sizes_in_a_debian_package_end_it(size, put):
    # Minus the length of a header would send the reader back to it for ever.
    field = size.encode("latin-1", "replace").ljust(10)[:10]
    header = b"x".ljust(48) + field + b"`\n"
    assert len(header) == 60
    file, target = put(b"!<arch>\n" + header + make_deb({"x": b"1"})[8:])
    with pytest.raises(SourceError, match="cannot unpack"):
        unpack(file, target)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\udce9b", "x" * 300])
def test_names_that_cannot_be_written_down_are_refused_where_they_are_wanted(name, put):
    file, target = put(make_tar({name: b"1", "fine.txt": b"2"}))
    with pytest.raises(SourceError, match="cannot unpack"):
        unpack(file, target)
    assert unpack(file, target, keep=["fine*"]) == [target / "fine.txt"]


def test_a_zip_with_a_password_is_an_error_with_a_name(put):
    data = bytearray(make_zip({"x": b"1"}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    file, target = put(bytes(data))
    with pytest.raises(SourceError, match="encrypted"):
        unpack(file, target)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives_never_end_in_a_traceback(kind, put, tmp_path):
    whole, rng = KINDS[kind](PLAIN), random.Random(kind)
    failed = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            at = rng.randrange(len(data))
            if rng.random() < 0.8:
                data[at] = rng.randrange(256)
            else:
                del data[max(at, 1) :]
        file, target = put(bytes(data))
        try:
            is_archive(file)
            unpack(file, target)
        except SourceError:
            failed += 1
    assert failed > 5
    assert outside(tmp_path) == []


# --- pins ----------------------------------------------------------------------------------------


def test_nothing_is_unpacked_before_its_hash_is_known_to_fit(tmp_path, monkeypatch):
    data = make_zip({"x": b"1"})
    (tmp_path / "p.zip").write_bytes(data)
    monkeypatch.setattr("artneuro.core.sources.unpack", lambda *_: pytest.fail("was unpacked"))
    wrong = url_config(tmp_path / "p.zip", package={"sha256": "0" * 64})
    with pytest.raises(SourceError, match="not what was pinned"):
        fetch_source("s", wrong, tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    assert sha256(data) not in {p.name for p in (tmp_path / "cache").iterdir()}


def test_a_kept_download_that_was_exchanged_is_not_used(tmp_path):
    data = make_zip({"x": b"honest"})
    (tmp_path / "p.zip").write_bytes(data)
    given = url_config(tmp_path / "p.zip")
    fetch_source("s", given, tmp_path / "out", tmp_path / "cache")
    (tmp_path / "cache" / sha256(data)).write_bytes(make_zip({"x": b"evil"}))
    fetch_source("s", given, tmp_path / "again", tmp_path / "cache")
    assert (tmp_path / "again" / "thing" / "x").read_bytes() == b"honest"


@pytest.mark.parametrize(
    "version",
    ["1.0 --index-url=http://evil", "git+https://evil/x.git", "file:///etc", "1.0;evil", "../1",
     "-1", "https://evil/x.tgz", "1.0\n", ""],
)  # fmt: skip
def test_a_version_is_a_version_and_no_address_or_option(version):
    with pytest.raises(ValidationError, match="version"):
        config("npm", b"", package={"version": version})


@pytest.mark.parametrize("version", ["1.0", "3.0.0-rc.1+b2", "1:1.2.3~dfsg-4+deb12u1", "2024a_1"])
def test_versions_of_every_registry_are_taken(version):
    assert config("debian", b"", package={"version": version}).packages[0].version == version


# --- addresses and servers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/passwd", "only http"), ("ftp://h/x", "only http"), ("data:,x", "only http"),
        ("javascript:alert(1)", "only http"), ("", "only http"), ("HTTP:/x", "no host"),
        ("http://user:secret@h/", "user's name"), ("http://user@h/", "user's name"),
        ("http://h/a b", "spaces"), ("http://h/\r\nX: y", "spaces"), ("http://h:99999/", "ort"),
        ("http://h:0/", "no host"), ("http://[::1/", "IPv6"), ("http:///x", "no host"),
    ],
)  # fmt: skip
def test_addresses_that_no_request_is_sent_to(address, said, tmp_path):
    assert said in (problem_of(address) or "")
    client = PoliteClient(PoliteConfig(), tmp_path, sleep=lambda _: pytest.fail("it waited"))
    with pytest.raises(SourceError, match="http or https only"):
        client.ask(address, {}, bytes)


def test_addresses_that_are_fine():
    for address in ("http://h", "https://h:8443/a?b=@c", "http://[::1]:80/x", "https://例.jp/"):
        assert problem_of(address) is None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    release: threading.Event
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.close_connection = True
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            getattr(self, self.path.strip("/").split("/")[0])()

    def _head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def to(self) -> None:
        self._head(302, Location=bytes.fromhex(self.path.rsplit("/", 1)[1]).decode())

    def fine(self) -> None:
        self._head(Content_Length="2")
        self.wfile.write(b"{}")

    def redirect_with_endless_body(self) -> None:
        self._head(302, Location="/fine")
        self._endless()

    def endless(self) -> None:
        self._head()
        self._endless()

    def _endless(self) -> None:
        while not self.server.release.is_set():
            self.wfile.write(bytes(1 << 16))

    def odd_length(self) -> None:
        self._head(Content_Length="many")
        self.wfile.write(b"{}")

    def negative_length(self) -> None:
        self._head(Content_Length="-7")
        self.wfile.write(b"{}")

    def slow_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.release.wait(0.05):
            self.wfile.write(b"X: y\r\n")

    def slow_body(self) -> None:
        self._head()
        while not self.server.release.wait(0.05):
            self.wfile.write(b" ")

    def many_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000)

    def no_http(self) -> None:
        self.wfile.write(b"\0\xff" * 100)

    def wait_for_ever(self) -> None:
        self._head(429, Retry_After="Mon, 01 Jan 0001 00:00:00 +2359")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.release, found.asked = threading.Event(), []
    thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.release.set()
    found.shutdown()
    found.server_close()
    thread.join()


def ask(server: Server, page: str, folder: Path, **changes: Any) -> bytes:
    settings = {"requests_per_second": 100, "attempts": 2, "timeout_s": 30, "max_answer_mb": 0.1}
    client = PoliteClient(PoliteConfig(**{**settings, **changes}), folder, sleep=lambda _: None)
    return client.ask(f"http://127.0.0.1:{server.server_address[1]}/{page}", {}, bytes)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "javascript:x",
     "http://user:secret@127.0.0.1/", "gopher://h/x", "http://h:99999/", "//user@h/"],
)  # fmt: skip
def test_redirects_elsewhere_are_not_followed(target, server, tmp_path):
    with pytest.raises(SourceError, match="sends the request elsewhere"):
        ask(server, f"to/{target.encode().hex()}", tmp_path)
    assert len(server.asked) == 1


def test_a_redirect_of_http_is_followed_and_its_own_body_is_not_read(server, tmp_path):
    assert ask(server, f"to/{b'/fine'.hex()}", tmp_path) == b"{}"
    assert ask(server, "redirect_with_endless_body", tmp_path) == b"{}"


def test_redirects_in_a_circle_end(server, tmp_path):
    with pytest.raises(SourceError):
        ask(server, f"to/{b'/to/2f'.hex()}", tmp_path)
    assert len(server.asked) < 40


def test_an_answer_without_end_is_given_up(server, tmp_path):
    with pytest.raises(SourceError, match=r"larger than 0\.1 MB"):
        ask(server, "endless", tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("page", ["odd_length", "negative_length"])
def test_an_odd_length_is_passed_over(page, server, tmp_path):
    assert ask(server, page, tmp_path) == b"{}"


@pytest.mark.parametrize("page", ["slow_headers", "slow_body"])
def test_a_server_that_speaks_slowly_is_cut_off(page, server, tmp_path):
    # Each piece comes well within the time for one read; it is the whole that takes too long.
    with pytest.raises(SourceError, match=r"no whole answer in 2 attempts: .*longer than 2 s"):
        ask(server, page, tmp_path, timeout_s=2.0)
    assert len(server.asked) == 2


@pytest.mark.parametrize("page", ["many_headers", "no_http", "wait_for_ever"])
def test_what_is_no_answer_is_an_error_with_a_name(page, server, tmp_path):
    with pytest.raises(SourceError, match="no whole answer in 2 attempts"):
        ask(server, page, tmp_path)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "body",
    [DEEP, b'{"results": {"bindings": ' + DEEP, b'{"results": {"bindings": [{"n": {"type": []}}]}}',
     b'{"results": {"bindings": [1]}}', b"null", b"\xff\xfe", b'{"results": NaN}'],
)  # fmt: skip
def test_results_made_to_harm_are_bad_answers(body):
    with pytest.raises(BadAnswer):
        read_results(body)


@pytest.mark.parametrize("views", ["Infinity", "1e999", "NaN", "-5", '"9"', "[]", "9" * 5000])
def test_views_made_to_harm_are_bad_answers(views):
    if views == '"9"':
        assert _read_views(b'{"items": [{"views": "9"}]}') == 9
        return
    with pytest.raises(BadAnswer):
        _read_views(b'{"items": [{"views": %s}]}' % views.encode())
    with pytest.raises(BadAnswer):
        _read_views(DEEP)


def test_a_count_of_too_many_digits_is_no_count(tmp_path):
    class Client(PoliteClient):
        def ask(self, endpoint, parameters, check, **_):
            number = "9" * 5000
            return check(
                b'{"results": {"bindings": [{"n": {"type": "literal", "value": "%s"}}]}}'
                % number.encode()
            )

    with pytest.raises(SourceError, match="no count"):
        SparqlClient("http://h/", Client(PoliteConfig(), tmp_path)).count("q")


# --- downloads by address ------------------------------------------------------------------------


def plain_http(monkeypatch) -> None:
    """Let the download's own rules be tried without certificates: http counts as https."""
    monkeypatch.setattr(registries, "problem_of", lambda url, _: problem_of(url))
    monkeypatch.setattr(registries, "URL_SCHEMES", ("http://", "file://"))


def fetch(server: Server, page: str, folder: Path) -> Path:
    folder.mkdir()
    url = f"http://127.0.0.1:{server.server_address[1]}/{page}"
    return registries.download("url", "x", url, folder, folder)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_download_is_not_redirected_to_files(target, server, tmp_path, monkeypatch):
    plain_http(monkeypatch)
    with pytest.raises(Unavailable, match=r"not to be followed: .*edirect"):
        fetch(server, f"to/{target.encode().hex()}", tmp_path / "a")
    assert fetch(server, f"to/{b'/fine'.hex()}", tmp_path / "b").read_bytes() == b"{}"


def test_a_download_without_end_is_given_up(server, tmp_path, monkeypatch):
    plain_http(monkeypatch)
    monkeypatch.setattr(registries, "MAX_DOWNLOAD_BYTES", 1 << 20)
    with pytest.raises(Unavailable, match="larger than 1048576 bytes"):
        fetch(server, "endless", tmp_path / "a")


@pytest.mark.parametrize("page", ["slow_body", "slow_headers"])
def test_a_download_that_drips_is_given_up(page, server, tmp_path, monkeypatch):
    plain_http(monkeypatch)
    monkeypatch.setattr(registries, "URL_TIMEOUT_S", 0.4)
    with pytest.raises(NetworkFailure):
        fetch(server, page, tmp_path / "a")


@pytest.mark.parametrize(
    "url",
    ["file:///dev/zero", "file:///proc/self", "file://elsewhere/etc/hostname", "file:///%00",
     "https://user:secret@h/x", "http://h/x", "ftp://h/x", "https://h/a b", "/etc/passwd"],
)  # fmt: skip
def test_addresses_that_nothing_is_downloaded_from(url, tmp_path):
    with pytest.raises(Unavailable):
        registries.download("url", "x", url, tmp_path, tmp_path)


@pytest.mark.parametrize("right", [True, False])
def test_a_file_by_address_is_checked_before_it_is_given_away(right, tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b"a,b\n")
    pin = sha256(b"a,b\n" if right else b"other")
    if right:
        assert pinned_download(file.as_uri(), pin, "x.csv", tmp_path).read_bytes() == b"a,b\n"
    else:
        with pytest.raises(SourceError, match="not what was pinned"):
            pinned_download(file.as_uri(), pin, "x.csv", tmp_path)
        assert not list(tmp_path.rglob("x.csv"))


@pytest.mark.parametrize("address", ["https://h/a.csv", "https://h/x.jsonl.zst"])
def test_an_address_in_the_config_needs_a_hash_and_carries_no_password(address):
    pin = "0" * 64
    entities = {"reader": "published", "layout": "world_place"}
    records = {"reader": "pile"}
    for part, values in ((TypeAdapter(AnyEntityPart), entities), (TypeAdapter(AnyPart), records)):
        part.validate_python({**values, "path": address, "sha256": pin})
        with pytest.raises(ValidationError, match="sha256: it is needed"):
            part.validate_python({**values, "path": address})
        for wrong in (address.replace("//", "//me:secret@"), address + " x"):
            with pytest.raises(ValidationError, match="path: it holds"):
                part.validate_python({**values, "path": wrong, "sha256": pin})
    for section in (DbpediaConfig, RequestedPageviews):
        with pytest.raises(ValidationError, match="user's name"):
            section.model_validate({"endpoint": "https://me:secret@h/sparql"})


def packed_zeros(blocks: int) -> bytes:
    """A Zstandard frame of so many blocks of 128 KiB of spaces, four bytes each."""
    head = ((1 << 17) << 3 | 2).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\x00\x38" + (head + b" ") * blocks


def test_a_bomb_of_text_is_unpacked_piece_by_piece(tmp_path, monkeypatch):
    packed = packed_zeros(100_000)
    monkeypatch.setattr(pile, "MAX_LINE", 1 << 20)
    with _ZstdStream(io.BytesIO(packed)) as stream:
        buffer = bytearray(1 << 16)
        assert stream.readinto(buffer) == 1 << 16
        # Of 12 GiB, what one small piece of the file stands for is in memory.
        assert len(stream._plain) < 1 << 27
    file = tmp_path / "x.jsonl.zst"
    file.write_bytes(packed)
    part = TypeAdapter(AnyPart).validate_python({"reader": "pile", "path": str(file)})
    with pytest.raises(DataError, match="the line has 1048576 characters or more"):
        list(pile.read_pile(part, None))
