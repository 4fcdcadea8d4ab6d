"""What every stage uses: errors, hashing, the one writer of artifacts, jobs, logging, Dask, sources."""
