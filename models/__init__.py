"""Who is measured: one module a model, declared in a registry and run in a process of its own."""
