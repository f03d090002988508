-- The store's time in milliseconds.
return string.format('%.0f', now)
