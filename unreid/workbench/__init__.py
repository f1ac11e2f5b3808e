"""From crops to identities: tables of features and identities, labelling, search and export.

Tables import without PyTorch.
"""

from unreid.workbench.feature_table import NO_CAMERA, FeatureMeta, FeatureTable, read_features, write_features
from unreid.workbench.identity_table import NO_IDENTITY, IdentityTable, read_identities, write_identities

__all__ = [
    "NO_CAMERA",
    "NO_IDENTITY",
    "FeatureMeta",
    "FeatureTable",
    "IdentityTable",
    "read_features",
    "read_identities",
    "write_features",
    "write_identities",
]
