"""The data sets: where they come from, how they are read and checked, and the simulator of the demo."""
