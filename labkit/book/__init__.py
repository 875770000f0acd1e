"""From executed notebooks and records to a site."""
