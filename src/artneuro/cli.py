"""The command `artneuro`: audit, trace and compare results, check the config, and more."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from artneuro.core.errors import ArtneuroError

OK, FOUND, FAILED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Returns
    -------
    int
        0: all is well. 1: an audit or a trace found something, or what was compared differs. 2: an
        error, told on standard error.
    """
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except ArtneuroError as error:
        print(f"artneuro: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="artneuro", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    audit = commands.add_parser("audit", help="hash all artifacts again and list what does not fit")
    audit.add_argument("results", type=Path, help="the folder of results")
    audit.add_argument("--json", action="store_true", help="print the whole report as JSON")
    audit.add_argument(
        "--workdir", type=Path, help="folder that recorded paths are relative to [above results/]"
    )
    audit.add_argument("--threads", type=int, help="files to hash at the same time [cores, max 8]")
    audit.add_argument(
        "--configfile", type=Path, nargs="+", default=[], metavar="FILE",
        help="config that the results are compared with [that of the last job]",
    )  # fmt: skip
    audit.add_argument(
        "--root", type=Path, help="workflow to compare with; its code is run [this package's]"
    )
    audit.add_argument("--no-plan", action="store_true", help="look at files and sidecars alone")
    audit.add_argument("--expect", metavar="HASH", help="contents or seal that an audit printed")
    audit.set_defaults(run=_audit)

    trace = commands.add_parser("trace", help="tell everything that an artifact came from")
    trace.add_argument("artifact", type=Path, help="a file or store below results/")
    trace.add_argument("--svg", type=Path, metavar="FILE", help="draw it into this file too")
    trace.add_argument("--json", action="store_true", help="print everything as JSON")
    trace.add_argument(
        "--workdir", type=Path, help="folder that recorded paths are relative to [above results/]"
    )
    trace.add_argument("--threads", type=int, help="files to hash at the same time [cores, max 8]")
    trace.set_defaults(run=_trace)

    diff = commands.add_parser("diff", help="say why two artifacts or folders of results differ")
    diff.add_argument("a", type=Path, help="an artifact, or a folder of results")
    diff.add_argument("b", type=Path, help="another of the same kind")
    diff.add_argument("--json", action="store_true", help="print everything as JSON")
    for side in ("a", "b"):
        diff.add_argument(
            f"--workdir-{side}", type=Path, help=f"folder that recorded paths of {side.upper()} "
            "are relative to [above results/]",
        )  # fmt: skip
    diff.add_argument("--threads", type=int, help="files to hash at the same time [cores, max 8]")
    diff.set_defaults(run=_diff)

    crate = commands.add_parser("crate", help="export results as a Workflow Run RO-Crate")
    crate.add_argument("results", type=Path, help="the folder of results")
    crate.add_argument("--out", type=Path, required=True, help="a new folder for the crate")
    for name, meaning in (
        ("title", "title of the results"),
        ("description", "what they are"),
        ("author", "who ran the workflow"),
        ("orcid", "address that identifies the author"),
        ("affiliation", "organization of the author"),
        ("licence", "of the results: SPDX identifier, address or words [not stated]"),
        ("url", "where the workflow is published"),
    ):
        crate.add_argument(f"--{name}", help=meaning)
    crate.add_argument(
        "--configfile", type=Path, nargs="+", default=[], metavar="FILE",
        help="config of the results [that of the last job]",
    )  # fmt: skip
    crate.add_argument("--root", type=Path, help="folder of the workflow [above results/]")
    crate.add_argument(
        "--workdir", type=Path, help="folder that recorded paths are relative to [above results/]"
    )
    crate.add_argument("--threads", type=int, help="files to hash at the same time [cores, max 8]")
    crate.set_defaults(run=_crate)

    config = commands.add_parser("config", help="check or document the configuration")
    actions = config.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="validate a config file")
    check.add_argument("file", type=Path, help="the YAML file")
    check.set_defaults(run=_config_check)
    docs = actions.add_parser(
        "docs", help="write config/README.md and workflow/schemas/config.schema.json"
    )
    docs.set_defaults(run=_config_docs)
    for action in (check, docs):
        action.add_argument("--root", type=Path, default=Path(), help="folder of the workflow [.]")

    paper = commands.add_parser(
        "universality", help="what the correlations of a group take, before any job runs"
    )
    paper.add_argument("file", type=Path, help="the config, a YAML file")
    paper.add_argument("group", help="a group of universality.groups")
    for size, meaning in (("layers", "blocks"), ("d-model", "width"), ("d-mlp", "neurons a layer")):
        paper.add_argument(f"--{size}", type=int, help=f"{meaning} of a model [as published]")
    paper.add_argument(
        "--tflops", type=float, default=494.7, help="nominal rate of products [H100, TF32]"
    )
    paper.add_argument(
        "--fraction", type=float, default=0.8, help="share of it that is reached [0.8]"
    )
    paper.add_argument(
        "--forward-tflops", type=float, default=989.4, help="of forward passes [H100, bfloat16]"
    )
    paper.add_argument("--root", type=Path, default=Path(), help="folder of the workflow [.]")
    paper.set_defaults(run=_universality)

    plan = commands.add_parser(
        "plan", help="what a config takes before anything runs: jobs, hours, bytes, memory"
    )
    plan.add_argument("--configfile", type=Path, required=True, help="the config, a YAML file")
    plan.add_argument("--profile", help="a profile of snakemake, such as slurm")
    plan.add_argument(
        "--cores", type=int, help="of one machine that all runs on [jobs get what they ask for]"
    )
    plan.add_argument("--all", action="store_true", help="plan as if no results were there")
    plan.add_argument("--by-rule", action="store_true", help="a table by rule too")
    plan.add_argument("--json", action="store_true", help="print everything as JSON")
    plan.add_argument("--gpu", default="h100", help="a100, h100, h200 or l40s [h100]")
    for name, meaning in (
        ("half", "TFLOP/s in bfloat16"),
        ("tf32", "TFLOP/s in TF32"),
        ("single", "TFLOP/s in float32"),
        ("bandwidth", "TB/s of its memory"),
        ("memory", "GB of its memory"),
        ("forward", "share of bfloat16 that forward passes reach"),
        ("products", "share that large products reach"),
        ("traffic", "share of the bandwidth that is reached"),
    ):
        plan.add_argument(f"--gpu-{name}", type=float, help=f"{meaning} [that GPU's]")
    plan.add_argument("--rates", type=Path, help="measured rates [benchmarks/rates.json]")
    plan.add_argument(
        "--against", type=Path, metavar="FOLDER", help="hold the plan against a finished run"
    )
    plan.add_argument(
        "--write-rates", type=Path, metavar="FILE", help="measure the rates of that run first"
    )
    plan.add_argument("--root", type=Path, default=Path(), help="folder of the workflow [.]")
    plan.add_argument("--workdir", type=Path, default=Path(), help="folder of results/ [.]")
    plan.set_defaults(run=_plan)

    build = commands.add_parser(
        "compile", help="compile the solvers now rather than in the first job that needs them"
    )
    build.set_defaults(run=_compile)
    return parser


# Imported where they are used: an audit needs no config, and a config check reads no results.


def _audit(args: argparse.Namespace) -> int:
    from artneuro.provenance.audit import audit
    from artneuro.provenance.planned import workflow_of

    root, reason = workflow_of(args.results, args.workdir, args.root, args.configfile)
    report = audit(
        args.results,
        workdir=args.workdir,
        threads=args.threads,
        root=None if args.no_plan else root,
        configfiles=args.configfile,
        expect=args.expect,
    )
    print(report.to_json() if args.json else report.to_text())
    if reason and not args.no_plan:
        print(f"artneuro: not compared with a config: {reason}", file=sys.stderr)
    return OK if report.ok else FOUND


def _trace(args: argparse.Namespace) -> int:
    from artneuro.provenance.trace import trace

    found = trace(args.artifact, workdir=args.workdir, threads=args.threads)
    if args.svg is not None:
        from artneuro.provenance.trace_drawing import draw_trace

        draw_trace(found, args.svg)
    print(found.to_json() if args.json else found.to_text())
    return OK if found.ok else FOUND


def _diff(args: argparse.Namespace) -> int:
    from artneuro.provenance.diff import diff

    workdirs = (args.workdir_a, args.workdir_b)
    found = diff(args.a, args.b, workdirs=workdirs, threads=args.threads)
    print(found.to_json() if args.json else found.to_text())
    return OK if found.equal else FOUND


def _crate(args: argparse.Namespace) -> int:
    from artneuro.provenance.crate import export_crate
    from artneuro.provenance.crate_texts import CrateOptions
    from artneuro.provenance.planned import workflow_of

    names = ("title", "description", "author", "orcid", "affiliation", "licence", "url")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    trusted, _ = workflow_of(args.results, args.workdir, args.root, args.configfile)
    summary = export_crate(
        args.results,
        args.out,
        CrateOptions(**given),
        workdir=args.workdir,
        workflow=args.root,
        compare=trusted is not None,
        configfiles=args.configfile,
        threads=args.threads,
    )
    print(summary)
    return OK


def _compile(args: argparse.Namespace) -> int:
    from artneuro.dynamics.config import DynamicsConfig
    from artneuro.dynamics.recovery import warm_up as warm_up_regressions
    from artneuro.probing.config import ProbingConfig
    from artneuro.probing.fit import warm_up

    # All rankings with compiled code; the other methods use the same.
    compiled = ["mutual_information", "l1_logistic", "adaptive", "optimal"]
    warm_up(ProbingConfig(rankings=compiled))
    warm_up_regressions(DynamicsConfig())
    return OK


def _universality(args: argparse.Namespace) -> int:
    from artneuro.config import load_config
    from artneuro.core.errors import ConfigError
    from artneuro.models.info import ModelShape
    from artneuro.universality.paper import Machine, plan_on_paper

    config, _ = load_config(args.file, args.root)
    groups = config.universality.groups
    if args.group not in groups:
        raise ConfigError(
            f"there is no group {args.group!r}",
            where=str(args.file),
            fix=f"groups: {', '.join(groups) or 'none'}",
        )
    group = groups[args.group]
    layers, d_model, d_mlp = args.layers, args.d_model, args.d_mlp
    if None in (layers, d_model, d_mlp):
        from artneuro.planning.shapes import planned_models

        known = planned_models(config, args.root, Path())[group.reference].shape
        layers, d_model = layers or known.n_layers, d_model or known.d_model
        d_mlp = d_mlp or known.d_mlp
    shape = ModelShape("", layers, d_model, d_mlp, 0, 0, 0, 0)
    machine = Machine(args.tflops, args.fraction, args.forward_tflops)
    n_tokens = config.texts[group.text].max_tokens
    print(plan_on_paper(config.universality, group, shape, n_tokens, machine))
    return OK


def _plan(args: argparse.Namespace) -> int:
    from artneuro.planning import command
    from artneuro.planning.rates import gpu_named, read_rates, write_rates
    from artneuro.planning.text import plan_json, plan_text

    names = ("half", "tf32", "single", "bandwidth", "memory", "forward", "products", "traffic")
    gpu = gpu_named(args.gpu, {name: getattr(args, f"gpu_{name}") for name in names})
    if args.write_rates:
        measured = command.rates_of(args.configfile, args.root, args.against or args.workdir)
        write_rates(measured, args.write_rates)
    rates = read_rates(args.rates or args.write_rates or args.root / command.RATES, gpu)
    if args.against:
        print(command.compare(args.configfile, args.root, args.against, rates))
        return OK
    plan = command.plan_config(
        args.configfile,
        args.root,
        args.workdir,
        rates,
        cores=args.cores,
        everything=args.all,
        options=["--profile", args.profile] if args.profile else (),
    )
    print(plan_json(plan) if args.json else plan_text(plan, args.by_rule))
    return OK


def _config_check(args: argparse.Namespace) -> int:
    from artneuro.config import load_config

    config, _ = load_config(args.file, args.root)
    pairs = len(config.probed())
    print(
        f"{args.file}: valid; {len(config.models)} models, {len(config.datasets)} datasets, "
        f"{pairs} pairs of them to probe"
    )
    return OK


def _config_docs(args: argparse.Namespace) -> int:
    from artneuro.config_docs import write_docs

    for path in write_docs(args.root):
        print(path)
    return OK


if __name__ == "__main__":
    sys.exit(main())
