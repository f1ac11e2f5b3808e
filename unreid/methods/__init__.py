"""The methods: which parts each puts together and what one training step is."""

from unreid.methods.auxusl import AuxUSL
from unreid.methods.base import METHODS, Method
from unreid.methods.buc import BUC
from unreid.methods.build import build_method
from unreid.methods.ccc import CCC
from unreid.methods.cdsm import CDSM
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.methods.instance_discrimination import InstanceDiscrimination
from unreid.methods.ise import ISE
from unreid.methods.o2cap import CAP, O2CAP
from unreid.methods.pplr import PPLR
from unreid.methods.setup import Setup
from unreid.methods.spcl import SpCL
from unreid.methods.spcl_uda import SpCLUDA

__all__ = [
    "BUC",
    "CAP",
    "CCC",
    "CDSM",
    "ISE",
    "METHODS",
    "O2CAP",
    "PPLR",
    "AuxUSL",
    "ClusterContrast",
    "InstanceDiscrimination",
    "Method",
    "Setup",
    "SpCL",
    "SpCLUDA",
    "build_method",
]
