"""artneuro: what the neurons and directions of a language model represent."""
