"""A tiny byte-level BPE tokenizer for tests, made on the spot."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "Der schnelle braune Fuchs springt über den faulen Hund; der Hund schläft weiter.",
    "In 1984 the 12 monkeys counted 2048 coins, 96 notes and 7 cards.",
    "def add(first, second):\n    return first + second\n\n\nprint(add(1, 2))\n",
    "Η γρήγορη αλεπού πηδάει πάνω από τον τεμπέλη σκύλο.",
    "NASA and ESA sent a Probe to Mars.   Three spaces, a tab\t, and a line\nbreak.",
)


def make_tokenizer(folder: str | Path, special: str = "<|endoftext|>", n_ids: int = 512) -> Path:
    """Train a byte-level BPE tokenizer on a few sentences and save it as a Hugging Face folder.

    Parameters
    ----------
    folder : path
        Where to save tokenizer.json and tokenizer_config.json.
    special : str
        The one special token, id 0; declared as end of sequence.
    n_ids : int
        Size of the vocabulary, 257 at least: every byte has a token, so every text has tokens.

    Returns
    -------
    Path
        The folder.
    """
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=n_ids,
        special_tokens=[special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=special)
    tokenizer.save_pretrained(folder)
    return Path(folder)
