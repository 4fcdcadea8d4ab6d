"""What the correlations of a group take, on paper: jobs, operations, hours, bytes, memory."""

from __future__ import annotations

from dataclasses import dataclass

from artneuro.models.info import ModelInfo, ModelShape
from artneuro.universality.config import ComparisonConfig, GroupConfig
from artneuro.universality.layout import lay_out, memory_of
from artneuro.universality.tiles import pairs_of, tiles_of


@dataclass(frozen=True)
class Machine:
    """A GPU, as its data sheet has it, and the shares of it that are reached.

    Attributes
    ----------
    tflops : float
        Nominal rate of products in the chosen precision, in 10^12 operations a second.
    fraction : float
        Share of it that the sums of products reach.
    forward_tflops, forward_fraction : float
        The same of forward passes.
    """

    tflops: float
    fraction: float
    forward_tflops: float
    forward_fraction: float = 0.4


@dataclass(frozen=True)
class PaperPlan:
    """What a group takes.

    Attributes
    ----------
    n_jobs : int
        Jobs that sum products.
    cross_flop : float
        Operations of the products between models, a multiplication and an addition each.
    within_flop : float
        Those of products within layers, which the baseline takes.
    forward_flop : float
        Those of all forward passes.
    hours, longest_hours : float
        Hours of one GPU in all, and of the longest job.
    sums_bytes : int
        Of all sums on disk.
    job_bytes : int
        Most memory of a job, without the models.
    """

    n_jobs: int
    cross_flop: float
    within_flop: float
    forward_flop: float
    hours: float
    longest_hours: float
    sums_bytes: int
    job_bytes: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"jobs: {self.n_jobs}",
                f"products between models: {self.cross_flop:.4g} FLOP",
                f"products within layers: {self.within_flop:.3g} FLOP",
                f"forward passes: {self.forward_flop:.3g} FLOP",
                f"GPU-hours: {self.hours:.1f} in all, {self.longest_hours:.2f} the longest job",
                f"sums on disk: {self.sums_bytes / 1e9:.0f} GB",
                f"memory of a job, without models: {self.job_bytes / 1e9:.1f} GB",
            ]
        )


def plan_on_paper(
    config: ComparisonConfig, group: GroupConfig, shape: ModelShape, n_tokens: int, machine: Machine
) -> PaperPlan:
    """What the correlations of a group of equal models take.

    Parameters
    ----------
    config : ComparisonConfig
    group : GroupConfig
    shape : ModelShape
        Of every model. An MLP is taken to have two matrices, as those of GPT-2 and GPT-NeoX.
    n_tokens : int
        Tokens that are compared.
    machine : Machine
    """
    info = ModelInfo(shape, 0, "", "", "", "")
    layer = 4 * shape.d_model**2 + 2 * shape.d_model * shape.d_mlp
    numbers: list[int] = []
    seconds: list[float] = []
    forward, memory = 0.0, 0
    for tile in tiles_of(group):
        infos = dict.fromkeys(tile.members, info)
        layout = lay_out(tile, infos, config.metric != "jaccard")
        n_run = sum(model.layers.stop for model in layout.models.values())
        # A token costs two operations for each weight.
        passes = 2.0 * n_tokens * n_run * layer
        numbers.append(layout.numbers())
        products = 2.0 * n_tokens * layout.numbers()
        seconds.append(
            products / (1e12 * machine.tflops * machine.fraction)
            + passes / (1e12 * machine.forward_tflops * machine.forward_fraction)
        )
        forward += passes
        memory = max(memory, memory_of(layout, config.block_tokens))
    cross = 2.0 * n_tokens * len(pairs_of(group)) * (shape.n_layers * shape.d_mlp) ** 2
    return PaperPlan(
        n_jobs=len(numbers) * group.token_parts,
        cross_flop=cross,
        within_flop=2.0 * n_tokens * sum(numbers) - cross,
        forward_flop=forward,
        hours=sum(seconds) / 3600,
        longest_hours=max(seconds) / 3600 / group.token_parts,
        sums_bytes=8 * sum(numbers) * group.token_parts,
        job_bytes=memory,
    )
