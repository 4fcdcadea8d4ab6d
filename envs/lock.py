"""Write envs/requirements.lock and envs/environment.yaml from pyproject.toml.

pip resolves the package with all its extras as if nothing were installed; the exact versions that
it chooses become the lock file, and the same versions the pip section of the conda environment.
Run it with the Python version that the environment is for (the oldest supported one, 3.11).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"

# Held back on purpose: the release of torch that is tested here on CPUs and GPUs.
HELD = {"torch": "2.13.0"}
# What torch brings for one kind of hardware. Its builds pin these themselves, and other builds of
# the same release (CPU, ROCm, macOS) have none of them, so the lock leaves them out.
HARDWARE = re.compile(r"(nvidia|cuda|pytorch-triton|triton|rocm)(-.*)?")


def canonical(name: str) -> str:
    """The normal form of a distribution's name: lower case, runs of - _ . as one dash."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(report: dict, package: str) -> dict[str, str]:
    """Name and version of everything in a pip installation report but `package` itself.

    Local version labels (`+cpu`, `+cu130`) name a build for some hardware rather than a release,
    and are cut, and so are the packages that only such a build needs: each machine picks its own
    build of the same release, and the lock is the same wherever it is made.
    """
    found = {}
    for item in report["install"]:
        name = canonical(item["metadata"]["name"])
        if name != canonical(package) and not HARDWARE.fullmatch(name):
            found[name] = item["metadata"]["version"].split("+")[0]
    return dict(sorted(found.items()))


def lock_text(versions: dict[str, str]) -> str:
    """The lock file: one `name==version` a line, sorted by name."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def read_lock(text: str) -> dict[str, str]:
    """The versions in a lock file, by name; comments and empty lines are left out."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==", 1) for line in lines if line)


def environment_text(versions: dict[str, str], package: str) -> str:
    """The conda environment with the same versions as the lock.

    Everything but Python comes from pip: conda's builds of these packages lag behind and would make
    a second set of versions to test.
    """
    pins = "".join(f"      - {name}=={version}\n" for name, version in sorted(versions.items()))
    return (
        "# Written by envs/lock.py from pyproject.toml; the same versions as requirements.lock.\n"
        f"# After `conda env create -f envs/environment.yaml`: `pip install --no-deps -e .`\n"
        f"name: {package}\n"
        "channels:\n  - conda-forge\n"
        f"dependencies:\n  - python={PYTHON}\n  - pip\n  - pip:\n{pins}"
    )


def resolve(root: Path) -> dict[str, str]:
    """Let pip resolve the package in `root` with all extras; nothing is installed."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ",".join(sorted(project.get("optional-dependencies", {})))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq",
             "--report", str(report), f"{root}[{extras}]",
             *(f"{name}=={version}" for name, version in HELD.items())],
            check=True,
        )  # fmt: skip
        return pinned(json.loads(report.read_text(encoding="utf-8")), project["name"])


def main() -> None:
    """Resolve anew, or with --keep write environment.yaml again from the lock as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="only bring environment.yaml in step with the lock"
    )
    args = parser.parse_args()
    running = ".".join(map(str, sys.version_info[:2]))
    if running != PYTHON and not args.keep:
        sys.exit(f"run this with Python {PYTHON}: pip resolves for the Python it runs under")
    lock = ROOT / "envs" / "requirements.lock"
    if args.keep:
        versions = read_lock(lock.read_text(encoding="utf-8"))
    else:
        versions = resolve(ROOT)
        lock.write_text(lock_text(versions), encoding="utf-8")
    environment = lock.with_name("environment.yaml")
    environment.write_text(environment_text(versions, "artneuro"), encoding="utf-8")
    print(f"{len(versions)} packages pinned in {lock.name} and {environment.name}")


if __name__ == "__main__":
    main()
