-- Where the denylist stands: epoch, seq, chain, watermark, salt, and whether it can be trusted.
return unusable() or state()
