"""The kinds of test that a claim can be mapped onto, one module each with ``KEYS`` and ``findings``."""
