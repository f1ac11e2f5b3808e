"""Choosing the recipe of clustering for a dataset without labels: ``unreid tune``."""
