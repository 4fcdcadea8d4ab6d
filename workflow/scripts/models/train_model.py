"""Train one model of an ensemble, from a seed of its own."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.models.training import train_model
from artneuro.models.training_config import TrainingConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        weights, source = Path(job.output.weights), job.cfg["source"]
        minutes = job.compute["checkpoint_minutes"][source["recipe"]]
        curve = train_model(
            TrainingConfig(**job.cfg["recipe"], checkpoint_minutes=minutes),
            seed=source["seed"],
            model_name=job.wildcards.model,
            recipe=source["recipe"],
            tokens=Path(job.input.tokens),
            tokenizer=Path(job.input.tokenizer),
            weights=weights,
            info=Path(job.output.info),
            curve=Path(job.output.curve),
            work=weights.with_name("training.parts"),
            device=job.compute["device"],
            code=job.code,
        )
        job.note(seed=source["seed"], held_out_loss=curve["held_out_loss"][-1])
