"""The loaders: one module for each format, which reads its files and leaves naming and checking to others."""
