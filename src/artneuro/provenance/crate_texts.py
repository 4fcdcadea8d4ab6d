"""What a crate says in the words of people: title, licences, citations, media types, homes."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Of the files that the pipeline and its checkout hold; anything else is of unknown bytes.
MEDIA_TYPES = {
    ".cff": "application/yaml",
    ".css": "text/css",
    ".csv": "text/csv",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".mplstyle": "text/plain",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".smk": "text/plain",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
PLAIN_NAMES = ("Snakefile", "LICENSE")
# Families of the SPDX list that sources and models are under; other names get no address.
SPDX = re.compile(
    r"MIT(-0)?|ISC|0BSD|Unlicense|Zlib|WTFPL|"
    r"(AFL|AGPL|Apache|Artistic|BSD|BSL|CC0|CC-BY(-NC)?(-SA|-ND)?|CDLA|ECL|EPL|EUPL|GFDL|GPL|LGPL|"
    r"LPPL|MPL|MS-PL|ODC-By|ODbL|OFL|OSL|PDDL|PSF|Unicode)-[\w.-]+"
)


@dataclass(frozen=True)
class CrateOptions:
    """What only a person can say about a crate.

    Attributes
    ----------
    title, description : str
        Of the results.
    author : str or None
        Who ran the workflow.
    orcid : str or None
        The author's identifier, an address.
    affiliation : str or None
        The author's organization.
    licence : str or None
        Licence of the results: an SPDX identifier, an address or words.
    url : str or None
        Where the workflow is published.
    """

    title: str = "Results of artneuro"
    description: str = "What the neurons and directions of language models represent."
    author: str | None = None
    orcid: str | None = None
    affiliation: str | None = None
    licence: str | None = None
    url: str | None = None


def media_type(path: str | Path) -> str:
    """The media type of a file, by its name."""
    name = Path(path).name
    unknown = "text/plain" if name in PLAIN_NAMES else "application/octet-stream"
    return MEDIA_TYPES.get(Path(path).suffix.lower(), unknown)


def licence_entity(text: str) -> dict[str, Any]:
    """A licence as an entity: by its address, its SPDX identifier, or else its words.

    Parameters
    ----------
    text : str
        What the config or the package says: `MIT`, `https://...`, `Apache-2.0 AND MIT`.
    """
    text = text.strip()
    if re.match(r"https?://\S+$", text):
        return {"@id": text, "@type": "CreativeWork", "name": text}
    if SPDX.fullmatch(text):
        address = f"https://spdx.org/licenses/{text}"
        return {"@id": address, "@type": "CreativeWork", "name": text, "identifier": text}
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:80]
    return {"@id": f"#licence-{slug}", "@type": "CreativeWork", "name": text}


def not_stated(of: str) -> dict[str, Any]:
    """The entity for a licence that nobody recorded."""
    return {
        "@id": "#licence-not-stated",
        "@type": "CreativeWork",
        "name": "not stated",
        "description": f"Whoever exported this crate named no licence of {of}. Sources, models and "
        "the workflow have licences of their own, which they name.",
    }


def citations(path: Path) -> Iterator[dict[str, Any]]:
    """The works that a CITATION.cff asks to cite, the software first, with their authors' names."""
    try:
        cff = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return
    if not isinstance(cff, dict):
        return
    for number, work in enumerate([cff, *cff.get("references", [])]):
        authors = [
            " ".join(p for p in (a.get("given-names"), a.get("family-names"), a.get("name")) if p)
            for a in work.get("authors", [])
        ]
        year = str(work.get("year") or work.get("date-released") or "")
        is_article = work.get("type") == "article"
        entity = {
            "@id": _address(work) or f"#citation-{number}",
            "@type": "ScholarlyArticle" if is_article else "CreativeWork",
            "name": str(work.get("title", "")),
            "creator": authors,
            "datePublished": year,
            "isPartOf": work.get("journal"),
        }
        yield {k: v for k, v in entity.items() if v}


def _address(work: dict[str, Any]) -> str | None:
    """The address of a cited work, by its DOI or arXiv number."""
    if work.get("doi"):
        return f"https://doi.org/{work['doi']}"
    values = [str(i.get("value", "")) for i in work.get("identifiers", [])]
    for value in values:
        if value.startswith("arXiv:"):
            return f"https://arxiv.org/abs/{value.removeprefix('arXiv:')}"
    return work.get("url") or work.get("repository-code")


def software_entity(name: str, version: str) -> dict[str, Any]:
    """A library that a job ran with, at its home as far as it is installed here and names one."""
    home = "https://www.python.org/" if name == "python" else _home(name)
    entity: dict[str, Any] = {
        "@id": f"{home}#{version}" if home else f"#software-{name}-{version}",
        "@type": "SoftwareApplication",
        "name": name,
        "softwareVersion": version,
    }
    return {**entity, "url": home} if home else entity


def _home(name: str) -> str | None:
    try:
        found = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    urls = found.get_all("Home-page") or []
    for entry in found.get_all("Project-URL") or []:
        label, _, url = entry.partition(",")
        if label.strip().lower() in ("homepage", "home", "repository", "source", "documentation"):
            urls.append(url.strip())
    return next((u for u in urls if u.startswith("http")), None)
