"""Score the probes of every prompt on the activations of every prompt."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.prompt_transfer import PromptFiles, score_prompts

if __name__ == "__main__":
    with Job(snakemake) as job:
        columns = (job.input[name] for name in ("stores", "rows", "sequences", "directions"))
        facts = score_prompts(
            [
                PromptFiles(name, *map(Path, paths))
                for name, *paths in zip(job.cfg["prompts"], *columns, strict=True)
            ],
            main_prompt=job.cfg["main_prompt"],
            entities=Path(job.input.entities),
            transfer=Path(job.output.transfer),
            quality=Path(job.output.prompts),
            model=job.wildcards.model,
            table=job.wildcards.entities,
        )
        job.note(**asdict(facts))
