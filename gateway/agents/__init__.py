"""Agents that keep a gateway's own token check in step: HAProxy's maps, Envoy's filter."""
