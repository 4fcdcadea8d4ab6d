"""Jobs on one machine with several GPUs take one each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from artneuro.models import claims
from artneuro.models.claims import claim_gpu

CHILD = """
import sys
from pathlib import Path
from artneuro.models.claims import claim_gpu
folder = Path(sys.argv[1])
print(claim_gpu(3, folder), claim_gpu(3, folder), flush=True)
sys.stdin.read()
"""


def start(folder: Path) -> tuple[subprocess.Popen, str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def end(child: subprocess.Popen) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        pipe.close()


def test_each_job_holds_one_until_it_ends_or_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_held", {})
    first, of_first = start(tmp_path)
    second, of_second = start(tmp_path)
    third, of_third = start(tmp_path)
    assert (of_first, of_second, of_third) == ("0 0", "1 1", "2 2")
    # More jobs than GPUs: they share.
    assert claim_gpu(3, tmp_path) in range(3)
    assert claims._held == {}
    end(second)
    assert claim_gpu(3, tmp_path) == 1
    assert claim_gpu(3, tmp_path) == 1
    end(first)
    end(third)
    for handle in claims._held.values():
        handle.close()
