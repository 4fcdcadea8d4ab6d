"""Sizes of the models of a config: from files that are here, or from what is published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from artneuro.config import Config
from artneuro.core.errors import ConfigError
from artneuro.models.info import ModelShape, read_model_info
from artneuro.planning.config import ShapeConfig

# Model types whose MLP has two matrices; those of the others have a gate.
_PLAIN = {"gpt2", "gpt_neox", "gptj", "gpt_neo", "opt", "bloom", "phi", "codegen", "falcon", "mpt"}
ITEMSIZE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class PlannedModel:
    """Sizes of a model, and numbers that follow from them.

    Attributes
    ----------
    shape : ShapeConfig
    source : str
        Where the sizes are from.
    """

    shape: ShapeConfig
    source: str

    @property
    def neurons(self) -> int:
        """MLP neurons of all layers."""
        return self.shape.n_layers * self.shape.d_mlp

    @property
    def layer_weights(self) -> int:
        """Numbers in the matrices of one block."""
        shape = self.shape
        key_value = (shape.n_kv_heads or shape.n_heads) / shape.n_heads
        attention = int(shape.d_model**2 * (2 + 2 * key_value))
        return attention + (3 if shape.gated else 2) * shape.d_model * shape.d_mlp

    @property
    def parameters(self) -> int:
        """All parameters. Models with a gate are taken to have no biases, the others all."""
        shape, d = self.shape, self.shape.d_model
        small = 2 * d if shape.gated else 9 * d + shape.d_mlp
        tables = (1 if shape.tied else 2) * shape.vocab + shape.positions
        return shape.n_layers * (self.layer_weights + small) + (
            tables * d + (d if shape.gated else 2 * d)
        )

    @property
    def stored_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return self.parameters * ITEMSIZE[self.shape.stored]

    def forward_flop(self, tokens: float, n_ctx: float, head: bool = False) -> float:
        """Operations of a forward pass, a multiplication and an addition for each weight.

        Parameters
        ----------
        tokens : float
        n_ctx : float
            Tokens of a sequence; a token attends to half of them on average.
        head : bool
            Whether the unembedding is run too.
        """
        shape = self.shape
        weights = shape.n_layers * self.layer_weights + head * shape.vocab * shape.d_model
        return tokens * (2.0 * weights + 2.0 * shape.n_layers * n_ctx * shape.d_model)


def planned_models(
    config: Config, root: Path, workdir: Path, names: Collection[str] | None = None
) -> dict[str, PlannedModel]:
    """Sizes of the models of a config.

    In this order: the section `plan`, `model.json` of a model that was fetched or trained, the
    recipe of one that is trained here, `config.json` of a local folder,
    `resources/model_shapes.yaml`.

    Parameters
    ----------
    config : Config
    root : Path
        Folder of the workflow.
    workdir : Path
        Folder that `results/` lies in.
    names : collection of str, optional
        Models of the config; all of them if none are given.

    Raises
    ------
    ConfigError
        Naming every model whose sizes are not known.
    """
    wanted = config.models if names is None else names
    found = {name: _model(name, config, root, workdir) for name in wanted}
    unknown = [name for name, model in found.items() if model is None]
    if unknown:
        keys = "\n".join(f"  - models.{name} ({_origin(config, name)})" for name in unknown)
        raise ConfigError(
            f"the sizes of these models are not known before they are fetched:\n{keys}",
            fix=f"say them in the config: plan: {{models: {{{unknown[0]}: {{n_layers: ..., "
            "d_model: ..., d_mlp: ..., n_heads: ..., vocab: ...}}}, from the model's config.json",
        )
    return {name: model for name, model in found.items() if model is not None}


def _origin(config: Config, name: str) -> str:
    source = config.models[name].source
    return getattr(source, "id", None) or getattr(source, "file", None) or source.kind


def _model(name: str, config: Config, root: Path, workdir: Path) -> PlannedModel | None:
    if name in config.plan.models:
        return PlannedModel(config.plan.models[name], "config: plan.models")
    card = workdir / "results" / "models" / name / "model.json"
    if card.is_file():
        info = read_model_info(card)
        return PlannedModel(_told(info.shape, info.dtype, info.n_parameters), str(card))
    recipe = config.recipe_of(name)
    if recipe is not None:
        shape = ShapeConfig(
            n_layers=recipe.n_layers,
            d_model=recipe.d_model,
            d_mlp=recipe.neurons,
            n_heads=recipe.n_heads,
            vocab=recipe.vocabulary,
            positions=recipe.n_ctx,
            tied=True,
            stored="float32",
        )
        return PlannedModel(shape, "recipe")
    source = config.models[name].source
    if source.kind == "local":
        # Imported here: it is slow, and most plans have no local model.
        from artneuro.models.shapes import count_weights, read_config, shape_of

        folder = Path(source.path)
        counted, dtype = count_weights(folder)
        shape = _told(shape_of(read_config(folder)), dtype, counted)
        return PlannedModel(shape, f"{source.path}/config.json")
    published = _published(root / "resources" / "model_shapes.yaml")
    origin = _origin(config, name)
    return published.get(origin) or published.get(origin.rpartition("/")[2])


def _told(shape: ModelShape, dtype: str, parameters: int) -> ShapeConfig:
    """A shape as files tell it; whether embeddings are tied follows from the parameters."""
    told = ShapeConfig(
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        d_mlp=shape.d_mlp,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        vocab=shape.vocab,
        gated=shape.architecture not in _PLAIN,
        positions=shape.n_ctx if shape.architecture == "gpt2" else 0,
        stored=dtype if dtype in ("float16", "bfloat16") else "float32",
    )
    untied = PlannedModel(told, "").parameters
    tables = shape.vocab * shape.d_model
    return told.model_copy(update={"tied": parameters < untied - tables / 2})


@cache
def _published(path: Path) -> dict[str, PlannedModel]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        shapes = TypeAdapter(ShapeConfig)
        found: dict[str, PlannedModel] = {}
        for entry in entries:
            model = PlannedModel(shapes.validate_python(entry["shape"]), entry["source"])
            found.update(dict.fromkeys(entry["ids"], model))
        return found
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"cannot read the sizes of published models ({error})", where=str(path)
        ) from error
