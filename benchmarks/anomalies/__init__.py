"""How often the rules of anomaly detection are right: `python -m benchmarks.anomalies`."""
