"""How it runs: configuration, planning and the Snakemake rules that call one command each."""
