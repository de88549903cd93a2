"""What the papers claim, each as a test over a study's tidy tables."""
