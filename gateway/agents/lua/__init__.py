"""Lua that runs inside the gateways."""
