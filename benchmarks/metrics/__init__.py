"""What is measured: every score as a pure function of an embedding, the hidden truth and their shared context."""
