"""Paints a person, from what is farthest from the camera to what is nearest."""

from __future__ import annotations

import math

from unreid.rendering.canvas import Canvas, Point
from unreid.rendering.cloth import AROUND
from unreid.rendering.identity import Bag, Lower, Person
from unreid.rendering.palette import shaded
from unreid.rendering.skeleton import Skeleton


def paint_person(canvas: Canvas, person: Person, body: Skeleton) -> None:
    """Paints ``person`` onto the canvas, in place."""
    far, near = -body.ahead, body.ahead
    _leg(canvas, person, body, far, 0.82)
    _leg(canvas, person, body, near, 1.0)
    if person.lower_kind is Lower.SKIRT:
        _skirt(canvas, person, body)
    if person.bag is Bag.BACKPACK and body.turn > 0.35:
        _backpack_from_the_side(canvas, person, body)
    _arm(canvas, person, body, far, 0.78)
    if person.long_hair and not body.shows_back:
        _hair_behind(canvas, person, body)
    _torso(canvas, person, body)
    _arm(canvas, person, body, near, 0.93)
    _head(canvas, person, body)
    if person.bag is Bag.BACKPACK:
        _backpack_or_straps(canvas, person, body)
    elif person.bag is Bag.SHOULDER:
        _shoulder_bag(canvas, person, body)


def _leg(canvas: Canvas, person: Person, body: Skeleton, side: float, shade: float) -> None:
    stride = body.leg * 0.26 * body.turn * body.swing
    radius = 4.8 * body.girth
    hip_x = body.x + side * body.hip * 0.5 * body.front
    foot: Point = (hip_x + side * (stride + 1.0), body.foot_y)
    knee: Point = ((hip_x + foot[0]) / 2 + body.ahead * body.turn * 1.6, (body.hip_y + body.foot_y) / 2)
    hip: Point = (hip_x, body.hip_y - 2)
    ankle: Point = (foot[0], body.foot_y - 2)
    colour = shaded(person.lower, shade)
    if person.lower_kind in (Lower.TROUSERS, Lower.COAT):
        canvas.limb(hip, knee, radius, 0.86 * radius, colour)
        canvas.limb((knee[0], knee[1] - 1), ankle, 0.86 * radius, 0.66 * radius, colour)
        if person.leg_stripe:
            seam = (hip_x + side * 0.7 * radius, body.hip_y)
            canvas.limb(seam, (foot[0] + side * 0.4 * radius, body.foot_y - 3), 1.0, 0.8, shaded(person.accent, shade))
    else:
        canvas.limb(hip, ankle, 0.6 * radius, 0.45 * radius, shaded(person.skin, shade))
        if person.lower_kind is Lower.SHORTS:
            canvas.limb(hip, knee, 1.05 * radius, radius, colour)
    toes = foot[0] + body.ahead * body.turn * 2.2
    canvas.ellipse(toes, body.foot_y - 1.2, 3.4, 1.9, shaded(person.shoes, shade))


def _skirt(canvas: Canvas, person: Person, body: Skeleton) -> None:
    hem = body.hip_y + 0.45 * body.leg
    flare = 1.3 * body.hip + 0.08 * body.leg * body.turn * abs(body.swing)
    waist = body.hip_y - 3
    canvas.polygon(
        ((body.x - body.hip, waist), (body.x + body.hip, waist), (body.x + flare, hem), (body.x - flare, hem)),
        person.lower,
    )


def _arm(canvas: Canvas, person: Person, body: Skeleton, side: float, shade: float) -> None:
    reach = 0.17 * body.height
    radius = 3.0 * body.girth
    angle = side * (0.12 - 0.5 * body.swing * body.turn)
    bent = angle + 0.25 * body.ahead * body.turn
    shoulder: Point = (body.x + side * 0.92 * body.shoulder * body.front, body.shoulder_y + 2.5)
    elbow: Point = (shoulder[0] + reach * math.sin(angle), shoulder[1] + reach * math.cos(angle))
    wrist: Point = (elbow[0] + reach * math.sin(bent), elbow[1] + reach * math.cos(bent))
    sleeve, skin = shaded(person.upper, shade), shaded(person.skin, shade)
    canvas.ellipse(*shoulder, 0.95 * radius, radius, sleeve)
    if person.long_sleeves:
        canvas.limb(shoulder, elbow, radius, 0.9 * radius, sleeve)
        canvas.limb((elbow[0], elbow[1] - 1), wrist, 0.9 * radius, 0.75 * radius, sleeve)
    else:
        middle = ((shoulder[0] + elbow[0]) / 2, (shoulder[1] + elbow[1]) / 2)
        canvas.limb(shoulder, elbow, 0.75 * radius, 0.7 * radius, skin)
        canvas.limb(elbow, wrist, 0.7 * radius, 0.55 * radius, skin)
        canvas.limb(shoulder, middle, 1.1 * radius, radius, sleeve)
    canvas.ellipse(wrist[0], wrist[1] + 1, 1.9, 2.1, skin)
    if person.bag is Bag.HAND and side > 0:
        x, y = wrist
        corners = ((x - 4.5, y + 2), (x + 4.5, y + 2), (x + 5.5, y + 12), (x - 5.5, y + 12))
        canvas.polygon(corners, person.bag_colour)


def _torso(canvas: Canvas, person: Person, body: Skeleton) -> None:
    """The half of the cloth that faces the camera, shaped by shoulders, waist and hem."""
    hem = body.hip_y + (0.42 * body.leg if person.lower_kind is Lower.COAT else 1.0)
    neck, armpit = body.shoulder_y, body.shoulder_y + 4
    outline = (
        (body.x - 0.8 * body.shoulder, neck),
        (body.x + 0.8 * body.shoulder, neck),
        (body.x + body.shoulder, armpit),
        (body.x + body.hip, hem),
        (body.x - body.hip, hem),
        (body.x - body.shoulder, armpit),
    )
    first = int(-body.yaw / (2 * math.pi) * AROUND) % AROUND
    canvas.textured(outline, person.cloth[:, first : first + AROUND // 2])


def _hair_behind(canvas: Canvas, person: Person, body: Skeleton) -> None:
    x = body.x - 1.3 * body.ahead * body.turn
    y = body.top + 1.9 * body.head
    canvas.ellipse(x, y, (0.95 + 0.25 * body.front) * body.head, 1.7 * body.head, shaded(person.hair, 0.9))


def _head(canvas: Canvas, person: Person, body: Skeleton) -> None:
    radius, lean = body.head, body.ahead * body.turn
    x, y = body.x + 1.2 * lean, body.top + body.head
    canvas.limb((body.x, body.shoulder_y + 1), (x, y), 2.4, 2.2, shaded(person.skin, 0.85))
    canvas.ellipse(x, y, 0.82 * radius, 1.08 * radius, person.skin)
    if body.shows_back:
        canvas.ellipse(x, y - 0.4, 0.9 * radius, 1.08 * radius, person.hair)
        if person.long_hair:
            canvas.ellipse(x, y + radius, 0.9 * radius, 1.5 * radius, person.hair)
    else:
        _eyes(canvas, person, body, x, y)
        canvas.ellipse(x - 0.45 * lean * radius, y - 0.5 * radius, 0.85 * radius, 0.7 * radius, person.hair)
    if person.hat is not None:
        canvas.ellipse(x, y - 0.65 * radius, 0.98 * radius, 0.6 * radius, person.hat)
        if not body.shows_back:
            brim = y - 0.32 * radius
            canvas.limb((x, brim), (x + 1.5 * lean * radius, brim), 1.2, 1.0, shaded(person.hat, 0.8))


def _eyes(canvas: Canvas, person: Person, body: Skeleton, x: float, y: float) -> None:
    colour = shaded(person.skin, 0.45)
    gaze = x + 0.45 * body.ahead * body.turn * body.head
    for side in (-1.0, 1.0):
        if body.facing > 0.35 or side == body.ahead:
            offset = side * 0.34 * body.head * max(body.facing, 0.25)
            canvas.ellipse(gaze + offset, y + 0.28 * body.head, 0.45, 0.45, colour)


def _backpack_from_the_side(canvas: Canvas, person: Person, body: Skeleton) -> None:
    size = 0.085 * body.height
    x = body.x - body.ahead * (0.75 * body.shoulder + 0.35 * size * body.turn)
    y = body.shoulder_y + 0.15 * body.height
    canvas.ellipse(x, y, size * (0.55 + 0.45 * body.turn), 0.125 * body.height, person.bag_colour)


def _backpack_or_straps(canvas: Canvas, person: Person, body: Skeleton) -> None:
    if body.shows_back:
        half_width = 0.085 * body.height * 1.05 * (0.4 + 0.6 * body.front)
        y = body.shoulder_y + 0.15 * body.height
        canvas.ellipse(body.x, y, half_width, 0.13 * body.height, person.bag_colour)
    elif body.facing > 0.3:
        for side in (-1.0, 1.0):
            over = (body.x + side * 0.62 * body.shoulder, body.shoulder_y)
            under = (body.x + side * 0.6 * body.shoulder, body.shoulder_y + 0.2 * body.height)
            canvas.limb(over, under, 1.4, 1.4, shaded(person.bag_colour, 0.9))


def _shoulder_bag(canvas: Canvas, person: Person, body: Skeleton) -> None:
    side = 1.0 if body.facing > 0 else -1.0
    strap = (
        (body.x - side * 0.7 * body.shoulder, body.shoulder_y + 1),
        (body.x + side * 0.8 * body.hip, body.hip_y - 4),
    )
    canvas.limb(*strap, 1.1, 1.1, shaded(person.bag_colour, 0.85))
    hang = body.x + side * (body.hip + 1.5) * max(body.front, 0.4)
    canvas.ellipse(hang, body.hip_y - 2, 5, 6, person.bag_colour)
