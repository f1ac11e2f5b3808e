"""The commands beside training: ``unreid demo | render | mine | convert``, and the scripts of ``tools/``."""

from unreid.engine.commands.command import Command
from unreid.engine.commands.convert import CONVERT
from unreid.engine.commands.demo import DEMO
from unreid.engine.commands.mine import MINE
from unreid.engine.commands.render import RENDER

COMMANDS = (DEMO, RENDER, MINE, CONVERT)

__all__ = ["COMMANDS", "CONVERT", "DEMO", "MINE", "RENDER", "Command"]
