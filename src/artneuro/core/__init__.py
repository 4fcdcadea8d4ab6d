"""What every stage uses: errors, hashing, the writer of artifacts, jobs, logs, Dask, sources."""
