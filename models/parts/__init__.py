"""The parts that published models are composed of: counts, encoders, fusion, priors, likelihoods, penalties, trainer."""
