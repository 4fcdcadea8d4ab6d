"""Config of Wikipedia's page views: where they are counted, and over which months."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from artneuro.core.config import Section
from artneuro.core.web import Address
from artneuro.datasets.polite_config import PoliteConfig

Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class PageviewsBase(Section):
    """What both ways to count have in common."""

    project: Annotated[str, StringConstraints(pattern=r"^[a-z-]+\.wikipedia$")] = Field(
        "en.wikipedia", description="The Wikipedia whose pages are counted."
    )
    first_month: Month = Field("2018-01", description="First month of the period, YYYY-MM.")
    last_month: Month = Field("2020-12", description="Last month of the period, YYYY-MM.")
    min_page_views: int = Field(
        5000, ge=0, description="Only pages with more views than this in the period are kept."
    )

    @property
    def months(self) -> list[str]:
        """Every month of the period, YYYY-MM."""
        first, last = (
            int(m[:4]) * 12 + int(m[5:]) - 1 for m in (self.first_month, self.last_month)
        )
        return [f"{m // 12}-{m % 12 + 1:02d}" for m in range(first, last + 1)]

    @property
    def language(self) -> str:
        """The language's code in the project's name."""
        return self.project.partition(".")[0]

    @model_validator(mode="after")
    def _in_order(self):
        if self.first_month > self.last_month:
            raise ValueError("the period ends before it begins")
        return self


class DumpedPageviews(PageviewsBase):
    """Page views of Wikimedia's files: pageview_complete, pagecounts-ez or the hourly ones."""

    reader: Literal["dumps"] = Field(description="Files, read as streams.")
    paths: list[str] = Field(
        min_length=1,
        description="Files (.bz2, .gz or plain) or shell patterns of them, relative to the folder "
        "that snakemake runs in; each has its month in its name, as pageviews-201801-user.bz2.",
    )


class RequestedPageviews(PageviewsBase):
    """Page views of Wikimedia's REST service, one request a page."""

    reader: Literal["rest"] = Field(description="The REST service.")
    endpoint: Address = Field(
        "https://wikimedia.org/api/rest_v1/metrics/pageviews/per-article",
        pattern=r"^https?://[^\s]+$",
        description="Its address.",
    )
    access: Literal["all-access", "desktop", "mobile-app", "mobile-web"] = Field(
        "all-access", description="Where views come from."
    )
    agent: Literal["all-agents", "user", "spider", "automated"] = Field(
        "user", description="Whose views count."
    )
    http: PoliteConfig = Field(PoliteConfig(requests_per_second=20), description="How it is asked.")


Pageviews = Annotated[DumpedPageviews | RequestedPageviews, Field(discriminator="reader")]
