"""Language models on disk and in memory: fetching, loading, and the sites of their activations."""
