"""The sections of the report, one module each with ``section(study) -> Section``."""
