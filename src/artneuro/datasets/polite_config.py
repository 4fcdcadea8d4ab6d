"""Config of requests to public services: how often, for how long, how large, in whose name."""

from __future__ import annotations

from pydantic import Field

from artneuro.core.config import Section


class PoliteConfig(Section):
    """How a public service is asked. Answers are kept, so that nothing is asked twice."""

    user_agent: str = Field(
        "artneuro",
        pattern=r"^[!-~][ -~]*$",
        description="Who asks, in every request. Public services want to read here how to reach "
        "you: the name of your project with an address.",
    )
    requests_per_second: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Requests at most, over all jobs that share one folder of kept answers.",
    )
    timeout_s: float = Field(
        120.0, gt=0, description="Seconds until an answer must be there, to its last byte."
    )
    attempts: int = Field(8, ge=1, description="How often one request is tried at most.")
    backoff_s: float = Field(
        2.0,
        ge=0,
        description="Seconds before the second attempt, doubled for each further one; a random "
        "half of it is left out, so that many clients do not come back at once.",
    )
    max_wait_s: float = Field(
        600.0,
        ge=0,
        description="Longest wait before an attempt. A service that asks for a longer one is not "
        "asked again in this run.",
    )
    max_answer_mb: float = Field(64.0, gt=0, description="Largest answer that is read.")
