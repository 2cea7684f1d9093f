"""CPU benchmarks: speed of the SDK and of its peers, and how closely compiled plans match the trained model."""
