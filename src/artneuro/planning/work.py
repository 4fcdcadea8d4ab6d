"""What one job has to do, in numbers that no machine enters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from artneuro.planning.sizes import Sizes

Wildcards = dict[str, str]


@dataclass(frozen=True)
class Work:
    """The work of one job.

    Attributes
    ----------
    units : float
        Work in the unit of its rule, which a measured rate on one core belongs to.
    flop : float
        Operations in half precision that a GPU would do: forward passes.
    products : float
        Operations of other matrix products there.
    traffic : float
        Bytes that go through a GPU's memory besides.
    reads : float
        Bytes read from disk that count: weights, and stores of activations.
    downloads : float
        Bytes from the network.
    stored : float
        Bytes of results that follow from the sizes.
    rows : float
        Units that the bytes of tables are proportional to, at a measured rate.
    memory : float
        Bytes of main memory that a process takes, as far as they are predicted. 0: not.
    device_memory : float
        Bytes on the GPU, in `weight_bytes` a parameter and activations.
    parts : dict of str to float
        Units of parts of the work that have measured rates of their own, by name.
    """

    units: float = 0.0
    flop: float = 0.0
    products: float = 0.0
    traffic: float = 0.0
    reads: float = 0.0
    downloads: float = 0.0
    stored: float = 0.0
    rows: float = 0.0
    memory: float = 0.0
    device_memory: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """How the work of a rule's jobs follows from sizes.

    Attributes
    ----------
    unit : str
        What `Work.units` counts.
    work : callable
        From sizes and wildcards.
    torch : bool
        Whether a job loads torch and a model, which takes seconds whatever the size.
    told : bool
        Whether the sizes say how long it takes. If not (someone else's server, a dump of unknown
        length) the job counts with the time that it asks for.
    """

    unit: str
    work: Callable[[Sizes, Wildcards], Work]
    torch: bool = False
    told: Callable[[Sizes, Wildcards], bool] | None = None


def once(sizes: Sizes, wildcards: Wildcards) -> Work:
    """The work of a job that takes as long whatever the sizes."""
    return Work(units=1, rows=1)


def never(sizes: Sizes, wildcards: Wildcards) -> bool:
    """That the sizes do not say how long a job takes."""
    return False
