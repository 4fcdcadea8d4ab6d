"""The errors that a user meets: each says what is wrong, where, and what to do."""

from __future__ import annotations


class ArtneuroError(Exception):
    """A problem that a user can act on.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence.
    where : str, optional
        The file, config key, layer or row that it concerns.
    fix : str, optional
        What to do about it.
    """

    def __init__(self, what: str, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [what]
        if where:
            parts.append(f"  where: {where}")
        if fix:
            parts.append(f"  what to do: {fix}")
        super().__init__("\n".join(parts))

    def __reduce__(self):
        # The default would rebuild with the joined message as `what` when Dask sends it home.
        return (type(self), (self.what, self.where, self.fix))


class ConfigError(ArtneuroError):
    """The configuration names something that does not exist or contradicts itself."""


class SourceError(ArtneuroError):
    """An external input could not be had, or is not what was pinned."""


class ModelError(ArtneuroError):
    """A model folder, file or architecture cannot be used."""


class DataError(ArtneuroError):
    """A dataset or table is too small, malformed or inconsistent."""


class StoreError(ArtneuroError):
    """An activation store is incomplete, corrupt or of another run."""


class CodeError(ArtneuroError):
    """Code of the workflow or the package cannot be read or imports what does not exist."""


class ComputeError(ArtneuroError):
    """Workers that a job needs cannot be had, were lost, or are not as they must be."""
