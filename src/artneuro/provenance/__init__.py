"""Where results come from: hashes of the code that rules depend on, and the audit of sidecars."""
