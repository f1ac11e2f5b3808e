"""Data: datasets, the renderer, transforms, samplers and loaders. Import from the sub-modules.

This file imports nothing, so that the renderer's worker processes start without PyTorch.
"""
