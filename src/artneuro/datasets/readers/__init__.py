"""Readers of the kinds of files that corpora come in: each turns a part into raw documents."""
