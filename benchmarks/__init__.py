"""`python -m benchmarks`: what Gatepass costs, beside its peers, in one run."""
