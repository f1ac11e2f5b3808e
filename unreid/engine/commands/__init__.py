"""The commands beside training (``unreid list`` and others), and the scripts of ``tools/``."""

from unreid.engine.commands.assign import ASSIGN
from unreid.engine.commands.cluster import CLUSTER
from unreid.engine.commands.config import CONFIG
from unreid.engine.commands.convert import CONVERT
from unreid.engine.commands.demo import DEMO
from unreid.engine.commands.export import EXPORT
from unreid.engine.commands.extract import EXTRACT
from unreid.engine.commands.index import INDEX
from unreid.engine.commands.list import LIST
from unreid.engine.commands.mine import MINE
from unreid.engine.commands.render import RENDER
from unreid.engine.commands.report import REPORT
from unreid.engine.commands.review import REVIEW
from unreid.engine.commands.search import SEARCH
from unreid.engine.commands.tune import TUNE

COMMANDS = (
    *(CONFIG, LIST, DEMO, RENDER, MINE, TUNE, CONVERT),
    *(EXTRACT, CLUSTER, ASSIGN, INDEX, SEARCH, EXPORT, REPORT, REVIEW),
)
