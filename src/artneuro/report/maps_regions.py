"""What points of a map are coloured by: continents, divisions of the USA, boroughs."""

from __future__ import annotations

import polars as pl

from artneuro.report.map_drawing import NEW_YORK, USA, WORLD, Frame

CONTINENTS = {
    "AF": "Africa",
    "EU": "Europe",
    "AS": "Asia",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
    "AN": "Antarctica",
}

# Divisions of the Census Bureau, with states as (code, name).
_DIVISIONS = {
    "Pacific": "AK Alaska, CA California, HI Hawaii, OR Oregon, WA Washington",
    "Mountain": "AZ Arizona, CO Colorado, ID Idaho, MT Montana, NM New Mexico, NV Nevada, "
    "UT Utah, WY Wyoming",
    "West North Central": "IA Iowa, KS Kansas, MN Minnesota, MO Missouri, ND North Dakota, "
    "NE Nebraska, SD South Dakota",
    "West South Central": "AR Arkansas, LA Louisiana, OK Oklahoma, TX Texas",
    "East North Central": "IL Illinois, IN Indiana, MI Michigan, OH Ohio, WI Wisconsin",
    "East South Central": "AL Alabama, KY Kentucky, MS Mississippi, TN Tennessee",
    "South Atlantic": "DC District of Columbia, DE Delaware, FL Florida, GA Georgia, "
    "MD Maryland, NC North Carolina, SC South Carolina, VA Virginia, WV West Virginia",
    "Middle Atlantic": "NJ New Jersey, NY New York, PA Pennsylvania",
    "New England": "CT Connecticut, MA Massachusetts, ME Maine, NH New Hampshire, "
    "RI Rhode Island, VT Vermont",
}
STATE_CODES = {
    state[3:]: state[:2] for states in _DIVISIONS.values() for state in states.split(", ")
}
DIVISIONS = {
    key: division
    for division, states in _DIVISIONS.items()
    for state in states.split(", ")
    for key in (state[:2], state[3:])
}
UNKNOWN = "not told"
# What there are too many kinds of for a colour each.
REST = "other kinds"
# Classes k0, k1, ... of the style sheet.
N_COLOURS = 9


def kind_of(table: pl.DataFrame) -> str:
    """What a table of predictions is drawn as: "time", "city", "usa" or "world"."""
    if table["time"].null_count() < table.height:
        return "time"

    def share(column: str, frame: Frame) -> float:
        told = 1 - table[column].null_count() / table.height if column in table.columns else 0.0
        inside = frame.holds(table["longitude"].to_numpy(), table["latitude"].to_numpy()).mean()
        return told if inside > 0.9 else 0.0

    if share("borough", NEW_YORK) > 0.5:
        return "city"
    return "usa" if share("state", USA) > 0.5 else "world"


FRAMES = {"world": WORLD, "usa": USA, "city": NEW_YORK}
# Column that labels of medians are of, and what a point's colour is called.
AREAS = {"world": "country", "usa": "state", "city": "borough"}
COLOURED_BY = {"world": "continent", "usa": "division", "city": "borough", "time": "kind"}


def with_colour(table: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The table with what its points are coloured by, in the column `colour`.

    Of more kinds than there are colours, those of fewest entities become one.
    """
    if kind == "time":
        found = pl.col("entity_type").cast(pl.String)
    elif kind == "usa":
        found = pl.col("state").cast(pl.String).replace_strict(DIVISIONS, default=None)
    elif kind == "city":
        found = pl.col("borough").cast(pl.String)
    else:
        found = pl.col("continent").cast(pl.String).replace(CONTINENTS)
    coloured = table.with_columns(found.fill_null(UNKNOWN).alias("colour"))
    named = coloured.filter(pl.col("colour") != UNKNOWN)["colour"].value_counts(sort=True)
    if kind in ("world", "usa") or named.height <= N_COLOURS:
        return coloured
    most = named.sort("count", "colour", descending=[True, False])["colour"][: N_COLOURS - 1]
    is_shown = pl.col("colour").is_in([*most.to_list(), UNKNOWN])
    return coloured.with_columns(
        pl.when(is_shown).then(pl.col("colour")).otherwise(pl.lit(REST)).alias("colour")
    )


def colour_classes(values: pl.Series, kind: str) -> dict[str, str]:
    """Class of each colour group, in the order of the legend.

    Continents and divisions keep their colour whatever else is there; other groups are coloured by
    how many entities they have.
    """
    fixed = {"world": list(CONTINENTS.values()), "usa": list(_DIVISIONS)}.get(kind, [])
    present = values.value_counts(sort=True)[values.name].to_list()
    rest = [v for v in present if v not in fixed and v != UNKNOWN]
    order = [*fixed, *sorted(rest, key=lambda v: (v == REST, present.index(v)))]
    classes = {v: f"k{min(i, N_COLOURS - 1)}" for i, v in enumerate(order) if v in present}
    return classes | ({UNKNOWN: "kx"} if UNKNOWN in present else {})


def area_label(area: str, kind: str) -> str:
    """A country, a state by its two letters, a borough: as short as a map wants it."""
    if kind == "usa":
        return STATE_CODES.get(area, area)
    return area.replace("_", " ")
