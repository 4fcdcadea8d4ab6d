"""The templates of the pages, and what every page shares."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from artneuro.report import style

TEMPLATES = Path(__file__).with_name("templates")


def template_environment() -> Environment:
    """The environment that renders the pages: escapes everything, fails on what is undefined."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": style.score,
        "number": style.count,
        "duration": style.duration,
        "name": style.name_of,
        "heading": style.heading_of,
    }
    return environment


def template_text(name: str) -> str:
    """A template that is put into a page as it is."""
    return (TEMPLATES / name).read_text(encoding="utf-8").strip()


def csp_hash(script: str) -> str:
    """The one script that a browser may run: nothing that slipped into the page can."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
