"""The whole config: every stage's section, and the checks that no section can make alone."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from artneuro.activations.config import ActivationsConfig
from artneuro.core.config import ComputeConfig, Name, Section
from artneuro.core.errors import ConfigError
from artneuro.core.sources import SourceConfig, load_sources
from artneuro.core.validation import explained
from artneuro.core.values import check_values, read_yaml
from artneuro.datasets.config import CategoryCollection, DatasetConfig
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.dbpedia_config import DbpediaConfig
from artneuro.datasets.entities_config import EntitiesConfig
from artneuro.datasets.people_config import People, PeopleSource, WordNetPeople
from artneuro.datasets.text_config import TextConfig
from artneuro.dynamics.config import DynamicsConfig
from artneuro.interventions.config import InterventionsConfig
from artneuro.models.config import ModelConfig
from artneuro.models.training_config import TrainingConfig
from artneuro.planning.config import PlanConfig
from artneuro.probing.config import ProbingConfig
from artneuro.report.config import ReportConfig
from artneuro.spacetime.config import SpacetimeConfig
from artneuro.universality.config import UniversalityConfig
from artneuro.weights.config import WeightsConfig


class Config(Section):
    """The configuration of a run."""

    sources: str = Field(
        "resources/sources.yaml",
        description="The file that pins every external input, relative to the workflow's folder "
        "or absolute.",
    )
    models: dict[Name, ModelConfig] = Field({}, description="The models to study, by name.")
    training: dict[Name, TrainingConfig] = Field(
        {}, description="Recipes of models that are trained here, by name."
    )
    corpora: dict[Name, CorpusConfig] = Field(
        {},
        description="Collections of documents that token datasets are drawn from, by name.",
    )
    people: dict[Name, PeopleSource] = Field(
        {}, description="Tables of people with facts about them, by name."
    )
    datasets: dict[Name, DatasetConfig] = Field(
        {},
        description="Token datasets with labels, by name: which corpus, which features, how many.",
    )
    texts: dict[Name, TextConfig] = Field(
        {}, description="Whole documents as tokens without labels, by name."
    )
    dbpedia: dict[Name, DbpediaConfig] = Field(
        {}, description="Tables that are queried from DBpedia, by name."
    )
    entities: dict[Name, EntitiesConfig] = Field(
        {}, description="Tables of entities with their places or dates, by name."
    )
    activations: ActivationsConfig = Field(
        ActivationsConfig(), description="What is dumped of every model and dataset."
    )
    probing: ProbingConfig = Field(ProbingConfig(), description="Sparse probes.")
    weights: WeightsConfig = Field(
        WeightsConfig(), description="What the weights of neurons alone say."
    )
    universality: UniversalityConfig = Field(
        UniversalityConfig(), description="Neurons that models of several seeds share."
    )
    interventions: InterventionsConfig = Field(
        InterventionsConfig(), description="Units that are changed while a model runs."
    )
    spacetime: SpacetimeConfig = Field(
        SpacetimeConfig(), description="Linear models of space and time."
    )
    dynamics: DynamicsConfig = Field(
        DynamicsConfig(), description="Sparse equations of dynamical systems."
    )
    report: ReportConfig = Field(ReportConfig(), description="The HTML report.")
    compute: ComputeConfig = Field(ComputeConfig(), description="Devices and parallel work.")
    plan: PlanConfig = Field(
        PlanConfig(), description="What `artneuro plan` cannot know by itself; no job reads it."
    )

    def probed(self) -> list[tuple[str, str]]:
        """The (model, dataset) pairs that are probed, in the order of the config."""
        models = self.models if self.probing.models == "all" else self.probing.models
        datasets = self.datasets if self.probing.datasets == "all" else self.probing.datasets
        return [(model, dataset) for model in models for dataset in datasets]

    def mapped(self) -> list[tuple[str, str]]:
        """The (model, table of entities) pairs whose places and dates are probed."""
        chosen = self.spacetime.entities
        tables = list(self.entities) if chosen == "all" else chosen
        pairs = ((model, table) for model in self.spacetime.models for table in tables)
        return list(dict.fromkeys(pairs))

    def used_sources(self) -> list[str]:
        """Names of the pinned sources behind what is probed, sorted."""
        pairs = self.probed()
        corpora = {self.datasets[dataset].corpus for _, dataset in pairs}
        names = {name for corpus in corpora for name in self.corpora[corpus].source_names()}
        for _, dataset in pairs:
            people = self.people_of(dataset)
            found = self.people[people] if people else None
            if isinstance(found, WordNetPeople):
                names.add(found.source)
        for _, table in self.mapped():
            names.update(self.entities[table].source_names())
        for model, _ in [*pairs, *self.mapped()]:
            source = self.models[model].source
            if source.kind == "gguf":
                names.add(source.source)
        return sorted(names)

    def trained(self) -> list[str]:
        """Names of the models that are trained rather than fetched."""
        return [name for name, model in self.models.items() if model.source.kind == "trained"]

    def recipe_of(self, model: str) -> TrainingConfig | None:
        """The recipe that a model is trained by; None for one that is fetched."""
        source = self.models[model].source
        return self.training[source.recipe] if source.kind == "trained" else None

    def parameters_of(self, model: str) -> float | None:
        """Number of parameters of a model, as far as the config says."""
        recipe = self.recipe_of(model)
        return self.models[model].parameters or (recipe.parameters if recipe else None)

    def people_of(self, dataset: str) -> str | None:
        """Name of the table of people that a dataset needs, if it needs one."""
        collection = self.datasets[dataset].collection
        return collection.people if isinstance(collection, People) else None

    def tokenizer(self, model: str) -> str:
        """Name of the model whose tokenizer `model` uses (its own unless it says otherwise)."""
        return self.models[model].tokenizer or model


def load_config(
    values: dict[str, Any] | str | Path, root: str | Path
) -> tuple[Config, dict[str, SourceConfig]]:
    """Validate a config and the sources that it names.

    Parameters
    ----------
    values : dict, str or Path
        The config, or a YAML file with it.
    root : str or Path
        The workflow's folder, against which the path of the sources file is resolved.

    Returns
    -------
    config : Config
    sources : dict of SourceConfig
        The pinned inputs by name.

    Raises
    ------
    ConfigError
        Naming every key that is wrong, its value and what is allowed there.
    """
    where = "the config"
    if isinstance(values, dict):
        check_values(values, "the config", where)
    else:
        where = str(values)
        values = _read_yaml(Path(values))
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "the config is not valid:\n" + "\n".join(explained(error, values)),
            where=where,
            fix="see config/README.md for every key",
        ) from error
    sources = load_sources(Path(root) / config.sources)
    problems = list(_cross_checks(config, sources))
    if problems:
        raise ConfigError(
            "the config names things that do not exist or do not fit:\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            where=where,
        )
    return config, sources


def _read_yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "the config")
    if not isinstance(values, dict):
        raise ConfigError("the config is no mapping of sections", where=str(path))
    return values


def _unknown(key: str, value: str, allowed: Iterable[str]) -> str:
    return f"{key}: there is no {value!r}; there are: {', '.join(sorted(allowed)) or 'none'}"


def _cross_checks(config: Config, sources: dict[str, SourceConfig]) -> Iterable[str]:
    for name, model in config.models.items():
        if model.tokenizer is not None and model.tokenizer not in config.models:
            yield _unknown(f"models.{name}.tokenizer", model.tokenizer, config.models)
        local = model.source.path if model.source.kind == "local" else None
        if local is not None and not os.path.isdir(os.path.expanduser(local)):
            yield f"models.{name}.source.path: there is no folder {local!r} here"
        if model.source.kind == "gguf" and model.source.source not in sources:
            yield _unknown(f"models.{name}.source.source", model.source.source, sources)
    used = {dataset.corpus for dataset in config.datasets.values()}
    used |= {text.corpus for text in config.texts.values()}
    used |= {recipe.corpus for recipe in config.training.values()}
    for name, corpus in config.corpora.items():
        for i, part in enumerate(corpus.parts):
            annotator = part.annotate_with.source if part.annotate_with else None
            named = {
                "source": part.source,
                "only_without": part.only_without,
                "annotate_with.source": annotator,
            }
            for key, value in named.items():
                if value is not None and value not in sources:
                    yield _unknown(f"corpora.{name}.parts.{i}.{key}", value, sources)
            # A component of the Pile or a treebank may be put there later; a plan needs neither.
            unread = part.reader in ("pile", "conllu") or name not in used
            if not unread and part.path and not glob.glob(part.path, recursive=True):
                yield f"corpora.{name}.parts.{i}.path: nothing is at {part.path!r} here"
    for name, people in config.people.items():
        if isinstance(people, WordNetPeople) and people.source not in sources:
            yield _unknown(f"people.{name}.source", people.source, sources)
    yield from _training_checks(config)
    yield from _universality_checks(config)
    yield from _role_checks(config)
    yield from _spacetime_checks(config, sources)
    for taken in ("documents", "people", "recipes", "entities", "dbpedia"):
        if taken in config.models:
            yield f"models.{taken}: this name is taken by a results folder; choose another"
    for name, dataset in config.datasets.items():
        if dataset.corpus not in config.corpora:
            yield _unknown(f"datasets.{name}.corpus", dataset.corpus, config.corpora)
        table = config.people_of(name)
        if table is not None and table not in config.people:
            yield _unknown(f"datasets.{name}.collection.people", table, config.people)
    if isinstance(config.activations.jobs, dict):
        for name in config.activations.jobs:
            if name not in config.models:
                yield _unknown("activations.jobs", name, config.models)
    for name, text in config.texts.items():
        if text.corpus not in config.corpora:
            yield _unknown(f"texts.{name}.corpus", text.corpus, config.corpora)
    probing = config.probing
    if probing.models != "all":
        for chosen in probing.models:
            if chosen not in config.models:
                yield _unknown("probing.models", chosen, config.models)
    if probing.datasets != "all":
        for chosen in probing.datasets:
            if chosen not in config.datasets:
                yield _unknown("probing.datasets", chosen, config.datasets)
    probed = {dataset for _, dataset in config.probed()}
    for target, origin in probing.transfer.items():
        missing = [name for name in (target, origin) if name not in config.datasets]
        for name in missing:
            yield _unknown(f"probing.transfer.{target}", name, config.datasets)
        if not missing and config.datasets[target].corpus == config.datasets[origin].corpus:
            yield (
                f"probing.transfer.{target}: it draws on the same corpus as {origin}, so their "
                "documents may be the same; take a dataset of another corpus"
            )
    if config.datasets and not config.models:
        yield "models: at least one is required to probe the datasets with"
    # Without datasets there may still be dynamical systems or groups of models to look into.
    other = (
        config.dynamics.identified()
        or config.dynamics.in_context.pairs()
        or config.universality.groups
        or config.universality.explanations.pairs
        or config.mapped()
    )
    if not probed and (config.datasets or not other):
        yield "probing: no model or no dataset is named, so there is nothing to do"
    if config.compute.dask.kind == "address" and not config.compute.dask.address:
        yield "compute.dask.address: it is empty, but compute.dask.kind is 'address'"
    for section in ("comparison", "sparsity", "enumeration"):
        for chosen in getattr(probing, section).datasets:
            if chosen not in config.datasets:
                yield _unknown(f"probing.{section}.datasets", chosen, config.datasets)
    for chosen in probing.superposition.datasets:
        if chosen not in config.datasets:
            yield _unknown("probing.superposition.datasets", chosen, config.datasets)
        elif config.datasets[chosen].collection.kind != "compound_words":
            yield f"probing.superposition.datasets: {chosen!r} is not of compound words"
    for chosen in probing.superposition.background:
        if chosen not in config.datasets:
            yield _unknown("probing.superposition.background", chosen, config.datasets)
    if probing.superposition.datasets and probing.superposition.neurons > probing.max_k:
        yield (
            f"probing.superposition.neurons: probes are fitted for up to {probing.max_k} neurons "
            f"(probing.max_k), not for {probing.superposition.neurons}"
        )
    for chosen in probing.refinement.datasets:
        if chosen not in config.datasets:
            yield _unknown("probing.refinement.datasets", chosen, config.datasets)
    if probing.refinement.datasets and "mlp_post" not in probing.sites:
        yield "probing.refinement.datasets: it looks at neurons, so probing.sites needs mlp_post"
    for chosen in config.interventions.context_neurons.datasets:
        key = "interventions.context_neurons.datasets"
        if chosen not in config.datasets:
            yield _unknown(key, chosen, config.datasets)
        elif not isinstance(config.datasets[chosen].collection, CategoryCollection):
            yield f"{key}: the sequences of {chosen!r} do not have one class each"
    context_site = config.interventions.context_neurons.site
    if config.interventions.context_neurons.datasets and context_site not in probing.sites:
        yield _unknown("interventions.context_neurons.site", context_site, probing.sites)
    in_context = config.dynamics.in_context
    for chosen in in_context.models:
        if chosen not in config.models:
            yield _unknown("dynamics.in_context.models", chosen, config.models)
    if in_context.models and not in_context.systems:
        yield "dynamics.in_context.systems: it is empty, so there is nothing to give the models"
    for site in probing.sites:
        if site not in config.activations.sites:
            yield _unknown("probing.sites", site, config.activations.sites)


def _training_checks(config: Config) -> Iterable[str]:
    for name, recipe in config.training.items():
        if recipe.corpus not in config.corpora:
            yield _unknown(f"training.{name}.corpus", recipe.corpus, config.corpora)
        for text_name, text in config.texts.items():
            if text.split == "held_out" and text.held_out > recipe.held_out:
                yield (
                    f"texts.{text_name}.held_out: {text.held_out} is more than the recipe {name} "
                    f"holds out ({recipe.held_out}), so models of it learn from a part of the text"
                )
    for name, model in config.models.items():
        source = model.source
        if source.kind != "trained":
            continue
        if source.recipe not in config.training:
            yield _unknown(f"models.{name}.source.recipe", source.recipe, config.training)
        shared = config.models.get(model.tokenizer or name)
        if shared is not None and getattr(shared.source, "recipe", None) != source.recipe:
            yield (
                f"models.{name}.tokenizer: {model.tokenizer!r} is not of the recipe "
                f"{source.recipe!r}, whose models have a tokenizer of their own"
            )


def _role_checks(config: Config) -> Iterable[str]:
    for model in config.weights.models:
        if model not in config.models:
            yield _unknown("weights.models", model, config.models)
    for name, section in config.interventions.roles().items():
        key = f"interventions.{name}"
        for model in section.models:
            if model not in config.models:
                yield _unknown(f"{key}.models", model, config.models)
        if section.text is None:
            continue
        if section.text not in config.texts:
            yield _unknown(f"{key}.text", section.text, config.texts)
        elif section.n_ctx > config.texts[section.text].n_ctx:
            yield (
                f"{key}.n_ctx: sequences of {section.text} have "
                f"{config.texts[section.text].n_ctx} tokens, not {section.n_ctx}"
            )


def _spacetime_checks(config: Config, sources: dict[str, SourceConfig]) -> Iterable[str]:
    for name, entities in config.entities.items():
        for source in entities.source_names():
            if source not in sources:
                yield _unknown(f"entities.{name}.parts", source, sources)
        for query in entities.query_names():
            if query not in config.dbpedia:
                yield _unknown(f"entities.{name}.parts", query, config.dbpedia)
    space = config.spacetime
    for model in space.models:
        if model not in config.models:
            yield _unknown("spacetime.models", model, config.models)
    named = {
        "entities": [] if space.entities == "all" else space.entities,
        "neurons.tables": [] if space.neurons.tables == "all" else space.neurons.tables,
        "pinning.tables": space.pinning.tables,
        "ablation.tables": space.ablation.tables,
    }
    for key, tables in named.items():
        for table in tables:
            if table not in config.entities:
                yield _unknown(f"spacetime.{key}", table, config.entities)
    probed = {table for _, table in config.mapped()}
    for table in probed & set(config.entities):
        if space.main_prompt not in config.entities[table].prompts:
            prompts = config.entities[table].prompts
            yield _unknown(f"entities.{table}.prompts", space.main_prompt, prompts)
    for key in ("pinning", "ablation"):
        for table in getattr(space, key).tables:
            if space.models and table in config.entities and table not in probed:
                yield f"spacetime.{key}.tables: {table!r} is not among spacetime.entities"
    for table in space.pinning.tables:
        if table in config.entities and config.entities[table].target != "time":
            yield f"spacetime.pinning.tables: {table!r} is of places; time neurons take dates"
    text = space.ablation.text
    if space.ablation.tables and text is None:
        yield "spacetime.ablation.text: it is empty, so there is nothing to read"
    if text is not None and text not in config.texts:
        yield _unknown("spacetime.ablation.text", text, config.texts)
    elif text is not None and space.ablation.n_ctx > config.texts[text].n_ctx:
        yield (
            f"spacetime.ablation.n_ctx: sequences of {text} have {config.texts[text].n_ctx} "
            f"tokens, not {space.ablation.n_ctx}"
        )


def _universality_checks(config: Config) -> Iterable[str]:
    for name, group in config.universality.groups.items():
        key = f"universality.groups.{name}"
        if name in config.models:
            yield f"{key}: a model has this name, and so its results folder; choose another"
        if group.text not in config.texts:
            yield _unknown(f"{key}.text", group.text, config.texts)
        missing = [model for model in group.members if model not in config.models]
        for model in missing:
            yield _unknown(f"{key}.others", model, config.models)
        tokenizers = {config.tokenizer(m) for m in group.members if m not in missing}
        if len(tokenizers) > 1:
            yield (
                f"{key}: its models read different tokens, of the tokenizers "
                f"{', '.join(sorted(tokenizers))}; say `tokenizer:` of those that share one"
            )
    for i, pair in enumerate(config.universality.explanations.pairs):
        key = f"universality.explanations.pairs.{i}"
        if pair.model not in config.models:
            yield _unknown(f"{key}.model", pair.model, config.models)
        if pair.text not in config.texts:
            yield _unknown(f"{key}.text", pair.text, config.texts)
    reads = [(m, g.text) for g in config.universality.groups.values() for m in g.members]
    reads += [(pair.model, pair.text) for pair in config.universality.explanations.pairs]
    for model_name, text_name in dict.fromkeys(reads):
        if model_name not in config.models or text_name not in config.texts:
            continue
        source = config.models[model_name].source
        recipe_name = source.recipe if source.kind == "trained" else None
        shorter = config.training.get(recipe_name or "")
        n_ctx = config.texts[text_name].n_ctx
        if shorter is not None and n_ctx > shorter.n_ctx:
            yield (
                f"texts.{text_name}.n_ctx: {n_ctx} tokens are more than {model_name} reads "
                f"(training.{recipe_name}.n_ctx: {shorter.n_ctx})"
            )
