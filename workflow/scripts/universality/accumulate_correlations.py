"""Sum the products of the neurons of a tile over a part of the tokens."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.accumulate import accumulate_correlations
from artneuro.universality.config import ComparisonConfig, GroupConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        sums = Path(job.output.sums)
        facts = accumulate_correlations(
            ComparisonConfig(**job.cfg["comparison"]),
            GroupConfig(**job.cfg["group"]),
            int(job.wildcards.tile),
            int(job.wildcards.part),
            weights=[Path(path) for path in job.input.weights],
            model_infos=[Path(path) for path in job.input.infos],
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            sums=sums,
            name=job.wildcards.group,
            work=sums.with_suffix(".parts"),
            dtypes=job.cfg["dtypes"],
            trust_remote_code=job.cfg["trust_remote_code"],
            document_token=job.cfg["document_token"],
            device=job.compute["device"],
            threads=job.threads,
            code=job.code,
        )
        job.note(**asdict(facts))
