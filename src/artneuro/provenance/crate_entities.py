"""The entities of a crate: workflow, tools, parameters, artifacts, jobs, licences and people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.data_entity import DataEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from artneuro.core.hashing import sha256_json
from artneuro.provenance.crate_texts import (
    CrateOptions,
    citations,
    licence_entity,
    media_type,
    not_stated,
    software_entity,
)
from artneuro.provenance.graph import Artifact, dict_of, flatten, git_text
from artneuro.provenance.trace import fetched_sources, job_name, known_models

# The newest version that the profiles of workflow runs build on.
RO_CRATE = "1.1"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TERMS = {
    name: f"https://w3id.org/ro/terms/workflow-run#{name}"
    for name in ("sha256", "buildInstructions")
}
DONE = "http://schema.org/CompletedActionStatus"
SNAKEMAKE = "https://snakemake.readthedocs.io/"
AFFILIATION = "#affiliation"
LONGEST_VALUE = 2000


class CrateBuilder:
    """A crate that grows entity by entity.

    Parameters
    ----------
    base, root : Path
        The folder that holds results/, and that of the workflow.
    artifacts : dict of Path to Artifact
        What the crate is about.
    options : CrateOptions
        What only a person can say.
    """

    def __init__(
        self, base: Path, root: Path, artifacts: dict[Path, Artifact], options: CrateOptions
    ) -> None:
        self.base, self.root, self.artifacts, self.options = base, root, artifacts, options
        self.crate = ROCrate(version=RO_CRATE)
        self.crate.metadata.extra_terms.update(TERMS)
        self.jobs: dict[str, list[Artifact]] = {}
        for artifact in artifacts.values():
            self.jobs.setdefault(artifact.job, []).append(artifact)
        self.contexts: dict[str, Entity] = {}
        self.data: dict[Path, Entity] = {}
        self.parts: list[Entity] = []
        self.actions: list[Entity] = []
        self.controls: list[Entity] = []
        self.tools: dict[str, Entity] = {}
        self.steps: dict[str, Entity] = {}
        self.configs: list[Entity] = []
        self.agent = self._agent()

    def add_workflow(self, files: Iterable[Path], configs: Iterable[Path]) -> None:
        """Add the workflow with its code, the config files, the engine and the libraries."""
        records = [a.record for a in self.artifacts.values() if a.record]
        versions = dict_of(max(records, key=lambda r: str(r.get("ended"))), "versions")
        engine = {"softwareVersion": versions.get("snakemake", "not recorded"), "url": SNAKEMAKE}
        self.engine = self._context(
            {"@id": SNAKEMAKE, "@type": "SoftwareApplication", "name": "Snakemake", **engine}
        )
        self.workflow = self.crate.add_workflow(
            self.root / "Snakefile", "Snakefile", main=True, lang="snakemake",
            properties={"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]},
        )  # fmt: skip
        commits = sorted({git_text(r) for r in records})
        self._set(
            self.workflow,
            name="artneuro",
            description="From text to the neurons and directions of language models.",
            version=", ".join(commits),
            encodingFormat="text/plain",
            url=self.options.url,
            conformsTo={"@id": BIOSCHEMAS},
            softwareRequirements=[self._context(software_entity(*v)) for v in versions.items()],
            license=self._context(licence_entity("MIT")),
        )
        for path in files:
            name = path.relative_to(self.root).as_posix()
            if name != "Snakefile":
                self._code_file(path, name)
        for path in configs:
            self._config_file(path)
        lock = self.root / "envs" / "requirements.lock"
        if lock in self.data:
            about = {"@id": "https://pip.pypa.io/en/stable/reference/requirements-file-format/"}
            self._set(self.data[lock], conformsTo=about)
            self._set(self.workflow, buildInstructions=self.data[lock])

    def add_artifacts(self) -> None:
        """Add every artifact, and what of the user's they were made from, with its hash."""
        for artifact in self.artifacts.values():
            self._artifact(artifact)
        for artifact in self.artifacts.values():
            for used in artifact.inputs:
                if used.path not in self.data:
                    self._given(used.path, used.sha256)
        found, _ = fetched_sources(self.artifacts, self.base)
        for source in found:
            self._set(
                self.data[self.base / source["artifact"]],
                description=source["description"],
                license=self._licence(source["licence"]),
            )
        models, _ = known_models(self.artifacts, found, self.base)
        for model in models:
            weights = self.data.get(self.base / "results" / "models" / model["name"] / "weights")
            if weights is not None:
                about = f"{model['source']}, revision {model['revision']}"
                self._set(weights, description=about, license=self._licence(model["licence"]))

    def add_jobs(self) -> None:
        """Add an action for every job, with the step and the tool that it ran."""
        for job, outputs in sorted(self.jobs.items(), key=lambda item: item[1][0].shown):
            record = outputs[0].record
            if record is None:
                continue
            tool, step = self._tool(record), None
            step = self._step(record["rule"], tool)
            inputs = [self.data[i.path] for i in outputs[0].inputs if i.path in self.data]
            machine = dict_of(record, "machine")
            action = self._context(
                {
                    "@id": f"#job-{job}",
                    "@type": "CreateAction",
                    "name": job_name(record),
                    "description": f"{git_text(record)}; {record.get('threads')} threads on "
                    f"{machine.get('system')}, {machine.get('cores')} cores",
                    "startTime": record.get("started"),
                    "endTime": record.get("ended"),
                    "actionStatus": DONE,
                    "instrument": tool,
                    "object": [*inputs, *self._parameters(record["config"])],
                    "result": [self.data[a.path] for a in outputs],
                    "agent": self.agent,
                }
            )
            control = {
                "@id": f"#control-{job}",
                "@type": "ControlAction",
                "name": f"orchestrate {job_name(record)}",
                "instrument": step,
                "object": action,
            }
            self.actions.append(action)
            self.controls.append(self._context(control))

    def add_run(self, contents: str, seal: str) -> None:
        """Add the run of the whole workflow and what the crate is."""
        records = [a.record for a in self.artifacts.values() if a.record]
        begun = min(str(r.get("started")) for r in records)
        ended = max(str(r.get("ended")) for r in records)
        used = {i.path for a in self.artifacts.values() for i in a.inputs}
        last = [self.data[p] for p in self.artifacts if p not in used]
        given = [e for p, e in self.data.items() if p in used and p not in self.artifacts]
        folder = self.crate.add_dataset(dest_path="results/")
        self._set(folder, name="results", description="Everything that the jobs made.")
        self.parts.append(folder)
        self._slot("input", "config", "File", self.configs)
        self._slot("output", "results", "Dataset", [folder])
        run = self._context(
            {
                "@id": "#run",
                "@type": "CreateAction",
                "name": "run of artneuro",
                "description": f"{len(self.actions)} jobs; hash of all contents {contents}, "
                f"with their sidecars {seal}",
                "startTime": begun,
                "endTime": ended,
                "actionStatus": DONE,
                "instrument": self.workflow,
                "object": [*self.configs, *given],
                "result": [folder, *last],
                "agent": self.agent,
            }
        )
        self._context(
            {
                "@id": "#orchestration",
                "@type": "OrganizeAction",
                "name": f"run of Snakemake {self.engine.get('softwareVersion')}",
                "startTime": begun,
                "endTime": ended,
                "instrument": self.engine,
                "object": self.controls,
                "result": run,
                "agent": self.agent,
            }
        )
        self.actions.insert(0, run)
        self.ended = ended

    def finish(self) -> ROCrate:
        """Fill in the root of the crate and return it."""
        options, root = self.options, self.crate.root_dataset
        profiles = [
            {"@id": p, "@type": "CreativeWork", "name": name, "version": p.rsplit("/", 1)[1]}
            for p, name in PROFILES.items()
        ]
        self._set(self.workflow, hasPart=list(self.tools.values()), step=list(self.steps.values()))
        self._set(
            root,
            name=options.title,
            description=options.description,
            datePublished=self.ended[:10],
            license=self._context(
                licence_entity(options.licence) if options.licence else not_stated("the results")
            ),
            conformsTo=[self._context(p) for p in profiles],
            citation=[self._cited(c) for c in citations(self.root / "CITATION.cff")],
            mentions=self.actions,
            hasPart=[self.workflow, *self.parts],
            author=self.agent,
            publisher=self.contexts.get(AFFILIATION),
        )
        if readme := self.data.get(self.root / "README.md"):
            self._set(readme, about=root)
        return self.crate

    # --- parts -----------------------------------------------------------------------------------

    def _context(self, properties: dict[str, Any]) -> Entity:
        """Add what is no data; the entity that is there already if it has the same id."""
        name = properties["@id"]
        if name not in self.contexts:
            entity = ContextEntity(self.crate, name, properties={"@type": properties["@type"]})
            self._set(entity, **{k: v for k, v in properties.items() if not k.startswith("@")})
            self.contexts[name] = self.crate.add(entity)
        return self.contexts[name]

    @staticmethod
    def _set(entity: Entity, **properties: Any) -> None:
        """Set what is known; a list of one is written as that one, as RO-Crate recommends."""
        for name, value in properties.items():
            if value not in (None, [], ""):
                entity[name] = value[0] if isinstance(value, list) and len(value) == 1 else value

    def _licence(self, text: Any) -> Entity | None:
        return self._context(licence_entity(str(text))) if text else None

    def _cited(self, work: dict[str, Any]) -> Entity:
        people = [
            {"@id": f"#person-{quote(name)}", "@type": "Person", "name": name}
            for name in work.get("creator", [])
        ]
        return self._context({**work, "creator": [self._context(p) for p in people]})

    def _agent(self) -> Entity | None:
        options = self.options
        if options.author is None:
            return None
        place = None
        if options.affiliation:
            place = self._context(
                {"@id": AFFILIATION, "@type": "Organization", "name": options.affiliation}
            )
        person = {"@id": options.orcid or "#author", "@type": "Person", "name": options.author}
        return self._context({**person, "affiliation": place})

    def _file(
        self, path: Path, name: str, types: str | list[str] = "File", **properties: Any
    ) -> Entity:
        entity = self.crate.add_file(path, name, properties={"@type": types, "name": name})
        size = str(path.stat().st_size)
        self._set(entity, encodingFormat=media_type(path), contentSize=size, **properties)
        self.data[path] = entity
        self.parts.append(entity)
        return entity

    def _elsewhere(self, path: Path, shown: str, kind: str, **properties: Any) -> Entity:
        """Describe data that is not in the crate."""
        name = {"@type": kind, "name": shown, **properties}
        entity = self.crate.add(DataEntity(self.crate, f"#{quote(shown)}", properties=name))
        self.data[path] = entity
        self.parts.append(entity)
        return entity

    def _code_file(self, path: Path, name: str) -> None:
        # Only what jobs run is called a tool; modules are parts of all of them.
        if name.startswith("workflow/scripts/") and path.suffix == ".py":
            types = ["File", "SoftwareSourceCode"]
            version, url = self.workflow["version"], self.options.url
            self._file(path, name, types, version=version, url=url)
        else:
            self._file(path, name)

    def _config_file(self, path: Path) -> None:
        inside = path.is_relative_to(self.base)
        name = path.relative_to(self.base).as_posix() if inside else f"config/{path.name}"
        self.configs.append(self._file(path, name, description="the config of the run"))

    def _artifact(self, artifact: Artifact) -> None:
        record = artifact.record or {}
        about = f"made by {job_name(record)}" if record else None
        if not artifact.path.is_file():
            # A folder, or what was there only until others were made from it.
            entity = self._elsewhere(artifact.path, artifact.shown, "Dataset")
            size = str(record.get("bytes", ""))
            hashed = (
                f"sha256 of the sorted list of paths and sha256 of its files: {record['sha256']}"
            )
            self._set(entity, description=about, contentSize=size, identifier=hashed)
        else:
            self._file(artifact.path, artifact.shown, description=about, sha256=record["sha256"])

    def _given(self, path: Path, sha256: str | None) -> None:
        shown = (
            path.relative_to(self.base).as_posix() if path.is_relative_to(self.base) else str(path)
        )
        entity = self._elsewhere(path, shown, "Dataset" if path.is_dir() else "File")
        self._set(entity, description="given by the user", sha256=sha256)
        if path.is_file():
            size = str(path.stat().st_size)
            self._set(entity, encodingFormat=media_type(path), contentSize=size)

    def _tool(self, record: dict[str, Any]) -> Entity:
        """The script that a job ran, with the version of all code that it consists of."""
        scripts = [k for k in record["code"] if k.startswith("workflow/scripts/")]
        name = scripts[-1] if scripts else f"#tool-{record['rule']}"
        tool = self.data.get(self.root / name) or self._context(
            {"@id": name if name.startswith("#") else f"#{name}", "@type": "SoftwareSourceCode",
             "name": record["rule"]}
        )  # fmt: skip
        version = f"{git_text(record)}, code {sha256_json(record['code'])[:12]}"
        if record["rule"] not in self.tools:
            self._set(tool, version=version)
        elif version not in str(tool.get("version")):
            self._set(tool, version=f"{tool['version']}; {version}")
        self.tools[record["rule"]] = tool
        return tool

    def _step(self, rule: str, tool: Entity) -> Entity:
        if rule not in self.steps:
            step = {"@id": f"#step-{rule}", "@type": "HowToStep", "name": rule}
            self.steps[rule] = self._context({**step, "workExample": tool})
            self._set(self.steps[rule], position=str(len(self.steps)))
        return self.steps[rule]

    def _parameters(self, config: Any) -> list[Entity]:
        """The values of a job's config; equal ones of several jobs are one entity."""
        found = []
        for name, value in flatten(config):
            if not name:
                continue
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            key = sha256_json([name, value])[:12]
            parameter = {"@id": f"#parameter-{key}", "@type": "PropertyValue", "name": name}
            found.append(self._context({**parameter, "value": text[:LONGEST_VALUE] or "(empty)"}))
        return found

    def _slot(self, kind: str, name: str, type_: str, examples: list[Entity]) -> None:
        """What the workflow takes or gives, with what it was here."""
        if not examples:
            return
        slot = self.crate.add_formal_parameter(name, type_, identifier=f"#{kind}-{name}")
        self._set(slot, workExample=examples)
        for example in examples:
            self._set(example, exampleOfWork=slot)
        self._set(self.workflow, **{kind: [slot]})
