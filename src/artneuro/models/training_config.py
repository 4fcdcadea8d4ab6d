"""Config of training: the recipe that all models of an ensemble share."""

from __future__ import annotations

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section

SPECIAL_TOKENS = 1
BYTES = 256


class TrainingConfig(Section):
    """A recipe: a small GPT-2, the text it learns from, and how. Models differ in their seeds."""

    corpus: Name = Field(description="The corpus whose documents the models learn from.")
    held_out: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the groups of documents (files, speakers, pages) that no model or "
        "tokenizer learns from. Which ones follows from their names, as for texts.",
    )
    vocabulary: int = Field(
        50257,
        gt=BYTES + SPECIAL_TOKENS,
        description="Tokens of the byte-level BPE tokenizer that is trained on the same documents, "
        "the document token included.",
    )
    n_layers: int = Field(12, ge=1, description="Blocks.")
    d_model: int = Field(768, ge=1, description="Width of the residual stream.")
    n_heads: int = Field(12, ge=1, description="Attention heads of a block.")
    d_mlp: int | None = Field(None, ge=1, description="Neurons of a layer. Empty: 4 x d_model.")
    n_ctx: int = Field(1024, ge=2, description="Tokens of a sequence, the document token included.")
    init_std: float = Field(
        0.02,
        gt=0,
        description="Standard deviation of the initial weights and embeddings (less for those that "
        "write to the residual stream, as in GPT-2). Narrow models learn faster from larger ones.",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share dropped of embeddings, attention and residual updates."
    )
    steps: int = Field(400_000, ge=1, description="Updates of the weights.")
    batch: int = Field(512, ge=1, description="Sequences of an update.")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Sequences that run at a time, whose gradients add up to those of a batch. "
        "Empty: the whole batch.",
    )
    learning_rate: float = Field(
        6e-4, gt=0, description="Highest rate, which follows the warm-up and falls as a cosine."
    )
    final_rate: float = Field(
        0.1, ge=0, le=1, description="Rate of the last step, as a share of the highest."
    )
    warmup: int = Field(4000, ge=0, description="Steps over which the rate rises from zero.")
    weight_decay: float = Field(
        0.1, ge=0, description="Decay of matrices; biases and norms have none."
    )
    betas: tuple[float, float] = Field((0.9, 0.95), description="Decay of both moments of AdamW.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    seed: int = Field(
        0,
        ge=0,
        description="Seed of the order of the data, the same for every model of the recipe.",
    )
    record_every: int = Field(
        1000, ge=1, description="Steps between entries of the training curve."
    )
    held_out_sequences: int = Field(
        256, ge=1, description="Held-out sequences that the curve's loss is of."
    )
    threads: int = Field(
        1,
        ge=1,
        description="CPU threads of a model's training. Sums depend on their number in the last "
        "digits, which training makes larger, so it is part of the recipe.",
    )
    checkpoint_minutes: float = Field(
        10, ge=0, description="Minutes between checkpoints that a killed run goes on from."
    )

    @property
    def neurons(self) -> int:
        """Neurons of a layer."""
        return self.d_mlp or 4 * self.d_model

    @property
    def parameters(self) -> int:
        """Parameters of a model, tied embeddings counted once."""
        attention = 4 * self.d_model**2 + 4 * self.d_model
        mlp = 2 * self.neurons * self.d_model + self.neurons + self.d_model
        blocks = self.n_layers * (attention + mlp + 4 * self.d_model)
        return blocks + (self.vocabulary + self.n_ctx + 2) * self.d_model

    @model_validator(mode="after")
    def _fits(self) -> TrainingConfig:
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model ({self.d_model}) is not a multiple of n_heads ({self.n_heads})"
            )
        if self.batch % (self.micro_batch or self.batch):
            raise ValueError(
                f"batch ({self.batch}) is not a multiple of micro_batch ({self.micro_batch})"
            )
        if self.warmup >= self.steps:
            raise ValueError(f"warmup ({self.warmup}) leaves nothing of steps ({self.steps})")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas} are not between 0 and 1")
        return self
