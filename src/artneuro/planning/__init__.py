"""What a config takes, before anything runs: jobs, hours, bytes and memory."""
