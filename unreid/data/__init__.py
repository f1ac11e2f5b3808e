"""Data: datasets, transforms, samplers and loaders. Import from the sub-modules."""
