"""What every benchmark shares: timing, and the record of a comparison with a peer."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


def machine() -> str:
    """What the numbers were measured on."""
    import torch

    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":", 1)[1].strip() for x in lines if "model name" in x), model)
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores, {model}{gpu}"


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_memory() -> float:
    """Peak memory of this process in MB; unlike getrusage, without that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def interleaved(
    ours: Callable[[], float], peer: Callable[[], float], repeats: int
) -> tuple[float, float]:
    """Median seconds of two measurements taken in turns, so that both see the same machine.

    The first of each turn alternates, and one turn before the count warms both up.
    """
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    ours(), peer()
    for turn in range(repeats):
        order = ("ours", "peer") if turn % 2 == 0 else ("peer", "ours")
        for name in order:
            times[name].append(ours() if name == "ours" else peer())
    return statistics.median(times["ours"]), statistics.median(times["peer"])


def record(
    name: str, work: str, ours_s: float, peer: str, peer_s: float, results: Path = RESULTS
) -> float:
    """Print a comparison and put it into the results file, in place of an older one of its name.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    work : str
        What was done, by both.
    ours_s, peer_s : float
        Seconds that artneuro and the peer took for the same work.
    peer : str
        What it is compared with.
    results : Path
        The results file: a list of records, sorted by name.

    Returns
    -------
    float
        peer_s / ours_s: above 1, artneuro is faster.
    """
    ratio = peer_s / ours_s
    row = {
        "name": name,
        "work": work,
        "ours_s": round(ours_s, 4),
        "peer": peer,
        "peer_s": round(peer_s, 4),
        "ratio": round(ratio, 4),
        "machine": machine(),
    }
    rows = json.loads(results.read_text(encoding="utf-8")) if results.exists() else []
    rows = sorted([r for r in rows if r["name"] != name] + [row], key=lambda r: r["name"])
    temporary = results.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, results)
    print(f"{name}: {ratio:.3f} x {peer} ({ours_s:.3f} s against {peer_s:.3f} s; {work})")
    return ratio
