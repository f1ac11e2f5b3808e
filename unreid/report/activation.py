"""Where the network looks."""

from __future__ import annotations

from pathlib import Path

from unreid.report.crops import Crops
from unreid.report.facts import Facts
from unreid.report.markup import joined, note, tag
from unreid.report.section import Section


def activation(facts: Facts, crops: Crops) -> Section:
    """Crops beside their activation maps."""
    title = "Activation maps"
    if not facts.activation:
        return Section("activation", title, note(facts.missing.get("activation", facts.missing.get("features", ""))))
    pairs = []
    for path, picture in facts.activation:
        name = Path(path).name
        words = tag("figcaption", tag("span", name, class_="file", title=path))
        both = tag("div", crops.image(path, name), crops.picture(picture, f"activation of {name}"), class_="pair")
        pairs.append(tag("figure", both, words, class_="crop wide"))
    text = (
        "The squared response of the last feature map, summed over its channels and laid over the crop: bright yellow "
        "is strong, dark violet is weak. It knows no class: it says where the feature comes from, not why."
    )
    return Section("activation", title, joined(note(text), tag("div", pairs, class_="strip")))
