"""The console: pages on which administrators see sessions, keys, gateways and the audit log."""
