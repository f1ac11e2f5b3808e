"""Where the parts of a person are on the canvas, for one viewpoint and moment of the stride."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unreid.rendering.identity import Person
from unreid.rendering.knobs import CANVAS_HEIGHT, CANVAS_WIDTH

BODY_HEIGHT = 106.0  # pixels of an average person at zoom 1


@dataclass(frozen=True)
class Pose:
    """How a person stands in one image.

    Attributes:
        yaw: radians; 0 faces the camera, pi / 2 walks to the right, pi shows the back.
        phase: radians of the walking cycle.
        dx, dy: shift from the middle of the canvas, pixels.
        height, width: factors on the person's own size.
    """

    yaw: float
    phase: float
    dx: float
    dy: float
    height: float
    width: float


@dataclass(frozen=True)
class Skeleton:
    """Measures in canvas pixels. ``facing`` is cos(yaw), ``turn`` |sin(yaw)|, ``ahead`` the sign of sin(yaw)."""

    x: float
    top: float
    height: float
    girth: float
    head: float
    shoulder_y: float
    hip_y: float
    foot_y: float
    leg: float
    shoulder: float
    hip: float
    yaw: float
    facing: float
    turn: float
    ahead: float
    swing: float

    @property
    def front(self) -> float:
        """|cos(yaw)|: how much of the body's breadth is seen."""
        return abs(self.facing)

    @property
    def shows_back(self) -> bool:
        return self.facing < -0.3


def skeleton(person: Person, pose: Pose, zoom: float, elevation: float) -> Skeleton:
    """The skeleton of ``person`` in ``pose``; ``elevation`` is the share by which the camera shortens legs."""
    height = BODY_HEIGHT * zoom**0.35 * person.height * pose.height
    girth = person.width * pose.width * zoom
    facing, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    top = (CANVAS_HEIGHT - height) / 2 + pose.dy
    head = 0.066 * height
    shoulder_y = top + 2.1 * head
    leg = height * person.leg_ratio * (1 - elevation)
    hip_y = min(shoulder_y + 0.36 * height, top + height - 0.95 * leg)
    return Skeleton(
        x=CANVAS_WIDTH / 2 + pose.dx,
        top=top,
        height=height,
        girth=girth,
        head=head,
        shoulder_y=shoulder_y,
        hip_y=hip_y,
        foot_y=hip_y + leg,
        leg=leg,
        shoulder=girth * (7.5 + 5.5 * abs(facing)),
        hip=girth * (6.6 + 3.6 * abs(facing)),
        yaw=pose.yaw,
        facing=facing,
        turn=abs(sine),
        ahead=1.0 if sine >= 0 else -1.0,
        swing=math.sin(pose.phase),
    )
