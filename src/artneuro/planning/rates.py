"""How fast work is done: rates measured on CPUs, and what GPUs are said to reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from artneuro.core.artifacts import write_json
from artneuro.core.errors import ConfigError


@dataclass(frozen=True)
class Gpu:
    """A GPU as its data sheet has it (dense products), and the shares of it that are assumed.

    Attributes
    ----------
    name : str
    half, tf32, single : float
        Products in bfloat16, TF32 and float32, in 10^12 operations a second.
    bandwidth : float
        Of its memory, in 10^12 bytes a second.
    memory : float
        In 10^9 bytes.
    forward, products, traffic : float
        Shares that forward passes, large products and passes over the memory reach.
    """

    name: str
    half: float
    tf32: float
    single: float
    bandwidth: float
    memory: float
    forward: float = 0.4
    products: float = 0.8
    traffic: float = 0.6

    def rate(self, precision: str) -> float:
        """Operations a second of large products in a precision of `universality`."""
        nominal = {"tf32": self.tf32, "bf16x3": self.half / 3, "float32": self.single}
        return 1e12 * self.products * nominal[precision]


# Peak rates from the vendors' data sheets, without sparsity: an assumption, no measurement.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("h100", half=989.4, tf32=494.7, single=66.9, bandwidth=3.35, memory=80),
        Gpu("h200", half=989.4, tf32=494.7, single=66.9, bandwidth=4.8, memory=141),
        Gpu("a100", half=312.0, tf32=156.0, single=19.5, bandwidth=2.04, memory=80),
        Gpu("l40s", half=362.0, tf32=183.0, single=91.6, bandwidth=0.864, memory=48),
    )
}


def gpu_named(name: str, numbers: Mapping[str, float | None]) -> Gpu:
    """A known GPU, with those of its numbers changed that are given.

    Raises
    ------
    ConfigError
        If the name is not known.
    """
    if name not in GPUS:
        raise ConfigError(f"no GPU {name!r} is known", fix=f"known: {', '.join(GPUS)}")
    changed = {**asdict(GPUS[name]), **{k: v for k, v in numbers.items() if v is not None}}
    return Gpu(**changed)


@dataclass(frozen=True)
class RuleRate:
    """What jobs of one rule took.

    Attributes
    ----------
    start : float
        Seconds of imports and models' start, whatever the size.
    per_unit : float
        Seconds of one core for each unit of the rule's work.
    bytes_per_row : float
        Bytes of tables for each row of `Work.rows`.
    jobs : int
        Jobs that this is measured on.
    """

    start: float
    per_unit: float
    bytes_per_row: float
    jobs: int


@dataclass(frozen=True)
class Rates:
    """All that enters an estimate beside the work.

    Attributes
    ----------
    rules : dict of str to RuleRate
    measured : str
        What they were measured on.
    gpu : Gpu
    disk, network : float
        Bytes a second that are read from disk and fetched from the hub, assumptions.
    encode, decode : float
        Bytes a second and core that are compressed into a store and read from one, measured.
    efficiency : float
        Share of the threads of a job that its work keeps busy.
    gpu_start : float
        Seconds until a job computes on its GPU, an assumption.
    """

    rules: dict[str, RuleRate]
    measured: str
    gpu: Gpu = GPUS["h100"]
    disk: float = 1e9
    network: float = 1e8
    encode: float = 1.5e8
    decode: float = 2.9e8
    efficiency: float = 0.8
    gpu_start: float = 20.0

    def of(self, rule: str) -> RuleRate:
        """The rate of a rule; of one that was not measured the mean start, and nothing else."""
        return self.rules.get(rule) or RuleRate(2.0, 0.0, 0.0, 0)


def read_rates(path: Path, gpu: Gpu = GPUS["h100"]) -> Rates:
    """Read measured rates.

    Raises
    ------
    ConfigError
        If the file is not one of `write_rates`.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rules = {name: RuleRate(**values) for name, values in found["rules"].items()}
        return Rates(rules, found["measured"], gpu)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot read measured rates ({error!r})",
            where=str(path),
            fix="measure them: artneuro plan --configfile FILE --against FOLDER --write-rates FILE",
        ) from error


def write_rates(rates: Rates, path: Path) -> None:
    """Write the measured rates of rules, to three digits."""
    rules = {
        name: {k: v if isinstance(v, int) else float(f"{v:.3g}") for k, v in asdict(rate).items()}
        for name, rate in sorted(rates.rules.items())
    }
    write_json({"measured": rates.measured, "rules": rules}, path)
