"""The denylist over HTTP, for gateways that may not reach Redis."""

from .hub import FeedHub, FeedOverloaded, FeedStream
from .service import Feed
from .signer import FeedSigner
from .snapshots import Snapshots

__all__ = ["Feed", "FeedHub", "FeedOverloaded", "FeedSigner", "FeedStream", "Snapshots"]
