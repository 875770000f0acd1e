"""Which records are missing, and who trains them."""
