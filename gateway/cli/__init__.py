"""Commands of a gateway's host; `pip install 'gatepass[gateway]'` brings what they need."""
