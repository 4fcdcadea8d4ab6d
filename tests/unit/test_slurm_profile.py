"""What `--profile slurm` makes of a site file, as Snakemake reads both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from configargparse import ConfigFileParserException
from snakemake.profiles import ProfileConfigFileParser

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "profiles" / "slurm"


def read(site: dict | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The options that the profile comes to; with the committed site file if none is given."""
    monkeypatch.chdir(ROOT)
    if site is not None:
        file = tmp_path / "site.yaml"
        file.write_text(yaml.safe_dump(site))
        monkeypatch.setenv("ARTNEURO_SITE", str(file))
    with (PROFILE / "config.yaml").open() as stream:
        return ProfileConfigFileParser().parse(stream)


def committed() -> dict:
    return yaml.safe_load((PROFILE / "site.yaml").read_text())


def test_the_committed_site_file_says_nothing_that_a_cluster_may_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = read(None, tmp_path, monkeypatch)
    assert options["executor"] == "slurm"
    assert options["default-resources"] == ["mem_mb=4000", "runtime=120"]
    assert "set-resources" not in options
    assert options["slurm-partition-config"] == "slurm/site.yaml"
    # Of the two ways to ask for jobs' states, this one notices that a job was cancelled; more tries
    # than an outage of minutes has; and arrays, where one failed task takes others along, are off.
    assert options["slurm-status-command"] == "squeue"
    assert int(options["slurm-status-attempts"]) >= 100
    assert "slurm-array-jobs" not in options


def test_a_site_file_is_merged_into_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = committed() | {
        "jobs": 7,
        "account": "neurons",
        "scratch": "/scratch/$SLURM_JOB_ID",
        "gpu": {"gpu_model": "a100"},
        "rules": {
            "train_model": {"slurm_partition": "all", "gpu_model": "h100"},
            "fit_probes": {"mem_mb": 5},
        },
        "threads": {},
    }
    options = read(site, tmp_path, monkeypatch)
    assert options["jobs"] == "7"
    assert "slurm_account='neurons'" in options["default-resources"]
    assert "tmpdir='/scratch/$SLURM_JOB_ID'" in options["default-resources"]
    found = set(options["set-resources"])
    # `all` would be a function of Python if it were not quoted.
    assert {
        "train_model:slurm_partition='all'",
        "train_model:gpu_model='h100'",
        "dump_activations:gpu_model='a100'",
        "fit_probes:mem_mb=5",
    } <= found
    assert "train_model:gpu_model='a100'" not in found
    assert "set-threads" not in options


@pytest.mark.parametrize("change", [{"partition": "gpu"}, None])
def test_a_mistake_in_the_site_file_is_named(
    change: dict | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = committed()
    if change:
        site |= change
    else:
        del site["account"]
    with pytest.raises(ConfigFileParserException, match="has to have the keys account, gpu, jobs"):
        read(site, tmp_path, monkeypatch)


def test_every_rule_that_may_ask_for_a_gpu_is_known_to_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = read(committed() | {"gpu": {"qos": "gpu"}}, tmp_path, monkeypatch)
    known = {setting.split(":")[0] for setting in options["set-resources"]}
    text = "".join(p.read_text() for p in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    asking = {rule for rule, body in rules if re.search(r"^\s+gpu=", body, re.MULTILINE)}
    assert "dump_activations" in asking
    assert known == asking


def test_the_site_file_names_only_rules_that_there_are() -> None:
    text = "".join(p.read_text() for p in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    rules = set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    assert set(committed()["threads"]) | set(committed()["rules"]) <= rules
