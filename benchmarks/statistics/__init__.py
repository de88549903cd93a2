"""What the scores say: aggregation over replicates, intervals, scaling between controls, paired tests, ranking."""
