"""How it is measured: data sets, designs, metrics, statistics, figures and the report."""
