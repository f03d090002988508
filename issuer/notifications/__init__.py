"""Tells others what happened: webhooks, mail, Shared Signals, back-channel logout."""
