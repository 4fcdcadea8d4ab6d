"""The licence of a model: what the config, its card or its LICENSE file says, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
CARD = "README.md"
LONGEST = 200  # of what is recorded, in characters
LONGEST_CARD = 100_000

# The hub writes SPDX identifiers in lower case. What is not here is kept as it is written.
SPDX = {
    name.lower(): name
    for name in (
        "Apache-2.0", "MIT", "ISC", "Unlicense", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0",
        "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0",
        "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "GPL-2.0", "GPL-3.0",
        "LGPL-3.0", "AGPL-3.0", "MPL-2.0", "EPL-2.0", "ODbL-1.0", "PDDL-1.0", "OFL-1.1", "BSL-1.0",
        "WTFPL", "Zlib",
    )
}  # fmt: skip

# Licences by the words that only their texts begin with.
TEXTS = (
    (r"Apache License\s+Version 2\.0", "Apache-2.0"),
    (r"MIT License\b|Permission is hereby granted, free of charge, to any person", "MIT"),
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3", "LGPL-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "GPL-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "GPL-2.0"),
    (
        r"Creative Commons Attribution 4\.0 International|Attribution 4\.0 International",
        "CC-BY-4.0",
    ),
    (r"CC0 1\.0 Universal", "CC0-1.0"),
)


def licence_of_folder(folder: str | Path) -> str | None:
    """The licence that a model's folder names: in its card, else in a LICENSE file.

    Parameters
    ----------
    folder : path
        The folder of the model.

    Returns
    -------
    str or None
        An SPDX identifier where it is one; `see LICENSE` for a text that is not known; None where
        there is nothing.
    """
    root = Path(folder)
    if found := licence_of_card(_front_matter(root / CARD)):
        return found
    for name in LICENCE_FILES:
        try:
            with open(root / name, encoding="utf-8", errors="replace") as handle:
                start = handle.read(2000)
        except OSError:
            continue
        return next((spdx for words, spdx in TEXTS if re.search(words, start)), f"see {name}")
    return None


def licence_of_card(card: Mapping[str, Any]) -> str | None:
    """The licence in the front matter of a model's card, as the hub defines its keys.

    Parameters
    ----------
    card : mapping
        Keys `license`, and for one that the hub has no name for `license_name`, `license_link`.
    """
    named = card.get("license")
    # Texts alone: what a card nests may unfold to more than memory holds.
    names = [n.strip() for n in (named if isinstance(named, list) else [named]) if _has_text(n)]
    found = " OR ".join(SPDX.get(n.lower(), n) for n in names)
    if not found or found == "other":
        own = [card[k] for k in ("license_name", "license_link") if _has_text(card.get(k))]
        found = " ".join(own) or found
    return " ".join(found.split())[:LONGEST] or None


def _has_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML between the first two lines of dashes of a card; nothing where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            text = handle.read(LONGEST_CARD)
        match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
        found = yaml.safe_load(match.group(1)) if match else None
    except (OSError, yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
