"""From sources to token datasets: documents, crops of tokens, splits and labels.

`documents` reads the text of a corpus (one row a document) with the `readers`; `tokens` draws crops
of tokens from it and splits them by groups; `labels` says which spans show which feature.
"""
