"""Config of the functional roles of neurons: what they do when they are held at values, and when
what they write is kept from a head.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section


class RoleText(Section):
    """The sequences that a role is measured on."""

    models: list[Name] = Field([], description="Models whose neurons are looked at.")
    text: Name | None = Field(
        None, description="Text of the section `texts`; not needed while no model is named."
    )
    sequences: int = Field(
        16, ge=2, description="Sequences drawn from the text, among those that are long enough."
    )
    n_ctx: int = Field(128, ge=8, description="Tokens that are read of each sequence.")
    seed: int = Field(0, ge=0, description="Seed of all that is drawn.")

    @model_validator(mode="after")
    def _models_read_a_text(self) -> RoleText:
        if self.models and self.text is None:
            raise ValueError("text: it is empty, so there is nothing to give the models")
        return self

    def model_texts(self) -> list[tuple[str, str]]:
        """Each model with the text that it reads."""
        return [(model, self.text) for model in self.models if self.text is not None]


class EntropyNeuronsConfig(RoleText):
    """Neurons that are said to change the entropy of the prediction by the scale of the last norm
    (thesis, section 3.5.2 and figures 3.7 and B.18).

    Among neurons of the last layers whose output norm is high, those rank first whose percentile of
    the norm exceeds that of the variance of their logit effects most.
    """

    layers: int = Field(2, ge=1, description="Last layers whose neurons are ranked and drawn.")
    neurons: int = Field(3, ge=1, description="Neurons that are taken from the top of the ranking.")
    min_norm_quantile: float = Field(
        0.75, ge=0, le=1, description="Neurons whose output norm is below this quantile of these "
        "layers are not ranked.",
    )  # fmt: skip
    antipode_cosine: float = Field(
        -0.5,
        ge=-1,
        le=0,
        description="The neuron that writes most opposite to a chosen one is looked at as well, if "
        "the cosine of their output weights is at most this.",
    )
    controls: int = Field(20, ge=0, description="Neurons drawn at random in these layers.")
    control_norm_quantile: float = Field(
        0.9, ge=0, le=1, description="Controls have an output norm of at most this quantile."
    )
    control_variance_quantile: float = Field(
        0.1, ge=0, le=1, description="Controls have a variance of logit effects of at least this "
        "quantile.",
    )  # fmt: skip
    values: list[float] = Field(
        [-0.17, 0, 1, 2, 3, 4, 5, 6],
        description="Activations that a neuron of an MLP without gates is held at, at every token; "
        "the least that a GELU gives is -0.17.",
    )
    deviations: list[float] = Field(
        [-8, -4, -2, 0, 2, 4, 8],
        description="The same for neurons of gated MLPs, whose activations have other sizes and "
        "both signs: standard deviations of the neuron's own activation, from its mean.",
    )
    gated_values: list[float] = Field(
        [], description="Activations that neurons of gated MLPs are held at besides."
    )
    positions: int = Field(
        32,
        ge=1,
        description="Tokens of each sequence whose prediction is measured, drawn behind `skip`.",
    )
    skip: int = Field(
        16, ge=1, description="First tokens of a sequence whose prediction is not measured."
    )


class AttentionNeuronsConfig(RoleText):
    """Neurons that are said to turn heads off and on by the attention to the first token (thesis,
    section 3.5.3 and figures 3.8 and B.19).
    """

    min_position: int | None = Field(
        None,
        ge=1,
        description="First position at which queries are looked at. Empty: half of n_ctx.",
    )
    position_step: int = Field(
        16,
        ge=1,
        description="Scores are means over every so many positions from there on: a rotary "
        "embedding turns a query by its position.",
    )
    random_directions: int = Field(
        2000, ge=2, description="Random directions whose scores are those of chance."
    )
    pairs: int = Field(
        4,
        ge=1,
        description="Pairs of neuron and head with the highest scores, and as many with the "
        "lowest, whose path is ablated; one for each head at most.",
    )
    attention_range: tuple[float, float] = Field(
        (0.1, 0.9),
        description="Only heads whose mean attention to the first token is in this range: others "
        "have little to lose or to gain.",
    )
    positions: int = Field(
        32, ge=1, description="Positions of each sequence at which the path is ablated, drawn."
    )
    histogram_bins: int = Field(60, ge=2, description="Bins of the histograms of scores.")


class NextTokensConfig(RoleText):
    """Whether prediction and suppression neurons fire where the next token is one of those that
    they act on (thesis, section 3.5.1 and figure B.17).
    """

    per_role: int = Field(
        60, ge=1, description="Neurons of each role, those of the highest kurtosis."
    )
    deviations: float = Field(
        5.0,
        gt=0,
        description="A neuron acts on the tokens whose effect is this many standard deviations "
        "from the mean, in the direction of the skew.",
    )
    max_tokens: int = Field(
        200, ge=1, description="Tokens that a neuron acts on at most: those of the largest effects."
    )
    min_count: int = Field(
        20, ge=1, description="How often the next token is one of them, at least, for a neuron to "
        "count.",
    )  # fmt: skip
    skip: int = Field(1, ge=1, description="First tokens of a sequence that are left out.")
    resamples: int = Field(
        1000, ge=10, description="Bootstrap samples of sequences behind the intervals."
    )
