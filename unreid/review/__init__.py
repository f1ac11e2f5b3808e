"""The review page: a person looks at clusters and corrects them; what is decided is kept as it happens."""

from unreid.review.crops import CropSet
from unreid.review.export import export_answers, export_links, identities
from unreid.review.server import ReviewServer
from unreid.review.session import ActionError, Session, StaleError
from unreid.review.store import Store

__all__ = [
    "ActionError",
    "CropSet",
    "ReviewServer",
    "Session",
    "StaleError",
    "Store",
    "export_answers",
    "export_links",
    "identities",
]
