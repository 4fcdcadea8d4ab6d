"""Sites: the named places of a transformer whose activations can be read.

A site has the name that the field uses, `blocks.{l}.mlp.hook_post`, and a short form, `mlp_post`.
Only names are here, so that reading a config needs no torch; `artneuro.models.hooks` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from artneuro.core.errors import ConfigError

if TYPE_CHECKING:
    from artneuro.models.info import ModelShape

# Short form -> name inside a block, in the order in which a block computes them.
HOOK_NAMES = {
    "resid_pre": "hook_resid_pre",
    "attn_pattern": "attn.hook_pattern",
    "attn_out": "hook_attn_out",
    "mlp_pre": "mlp.hook_pre",
    "mlp_post": "mlp.hook_post",
    "resid_post": "hook_resid_post",
}
SITES = tuple(HOOK_NAMES)
_FULL = re.compile(r"^blocks\.(\d+)\.(.+)$")


def parse_site(name: str) -> tuple[str, int | None]:
    """Short form and layer of a site's name.

    Parameters
    ----------
    name : str
        A short form ("mlp_post"), a name inside a block ("mlp.hook_post"), or a full name
        ("blocks.3.mlp.hook_post"); only the last has a layer.

    Raises
    ------
    ConfigError
        If it is none of these; the message lists the allowed names.
    """
    match = _FULL.match(name)
    layer, inner = (int(match[1]), match[2]) if match else (None, name)
    for short, hook in HOOK_NAMES.items():
        if inner == hook or (inner == short and layer is None):
            return short, layer
    raise ConfigError(
        f"unknown site {name!r}",
        fix="allowed sites: " + ", ".join(f"{s} (blocks.{{l}}.{h})" for s, h in HOOK_NAMES.items()),
    )


def hook_name(site: str, layer: int) -> str:
    """Full name of a site at a layer: ("mlp_post", 3) is "blocks.3.mlp.hook_post"."""
    return f"blocks.{layer}.{HOOK_NAMES[parse_site(site)[0]]}"


def check_layers(layers: Sequence[int] | Literal["all"], n_layers: int) -> list[int]:
    """The chosen layers, sorted and without repeats.

    Raises
    ------
    ConfigError
        If a layer is not one of 0 to n_layers - 1, or none is chosen.
    """
    chosen = sorted(set(range(n_layers) if layers == "all" else layers))
    wrong = [layer for layer in chosen if not 0 <= layer < n_layers]
    if wrong or not chosen:
        raise ConfigError(
            f"layers {wrong} are out of range" if wrong else "no layer is chosen",
            where="layers",
            fix=f"the model has layers 0 to {n_layers - 1}",
        )
    return chosen


def units_of(site: str, shape: ModelShape, n_ctx: int) -> int:
    """Numbers that a site gives for one token: neurons, directions, or heads * n_ctx attentions."""
    short, _ = parse_site(site)
    if short == "attn_pattern":
        return shape.n_heads * n_ctx
    return shape.d_mlp if short.startswith("mlp") else shape.d_model
