"""Config files and overrides with extreme, hostile and random content, in one process."""

from __future__ import annotations

import random
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture.tally import Tally
from unreid.config import get_cfg, load_config
from unreid.config.node import leaves
from unreid.utils.errors import UserError

TITLE = "random, extreme and hostile config files, overrides and attributes"
EXPECTED = "loaded or refused with one printable sentence, within a second and little memory; what loads also survives "
EXPECTED += "its own dump"
COUNT = 10000
SLICE = 150
SECONDS, MEGABYTES = 1.0, 200

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yml"))
KEYS: dict[str, Any] = dict(leaves(get_cfg()))

NUMBERS = [
    *("0", "1", "-1", "2", "3", "7", "0.5", "1e-4", "-0", "-0.0", "010", "0x10", "0o7", "0b1", "1_000", "1__0", "1_"),
    *(
        ".nan",
        "nan",
        "inf",
        ".inf",
        "-inf",
        "Infinity",
        "1e308",
        "1e309",
        "1e400",
        "1e-320",
        "1e999",
        "1E5",
        "+5",
        ".5",
    ),
    *("99999999999999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "4294967296"),
    *(
        "1000000",
        "1000000000",
        "100000000000000000000000",
        "1:30",
        "2024-01-01",
        "１２",
        "²",
        "1.0.0",
        "1,5",
        "5%",
        "1e",
    ),
    *("9" * 399, "9" * 5000, "1" + "0" * 400, "10**10**10", "1+1", "True", "False", "true", "None", "~", "null", "--1"),
]
TEXTS = [
    *("", " ", "a", "resnet_tiny", "dbscan", "../..", "~", "~nobody/x", "/dev/zero", "/", "a\0b", "a\nb", "\t", "\x7f"),
    *(
        "\ud800",
        "\u2028",
        "ü",
        "日本",
        "🙂",
        "\ufeff",
        "a" * 5000,
        "a" * 200_000,
        "%s",
        "{}",
        "${HOME}",
        "'",
        '"',
        "\\",
        "#",
    ),
    *("- a", "a: b", "[", "[" * 50_000, "(" * 50_000, "{" * 5000, "-" * 50_000, "'a", "'\\x00'", "r'c(\\d)'", "b'a'"),
    *("c(\\d+)", "(", "(a{99999999999})", "(" * 3000 + ")" * 3000, "[[a](b)", "(?P<n>a)", "!!python/object:os.system"),
    *(
        "round:1",
        "round:" + "9" * 5000,
        "round:１",
        "cuda:0",
        "cuda:" + "9" * 30,
        "yes",
        "off",
        "on",
        "--help",
        "KEY=1",
    ),
]
LISTS = [
    *(
        "[]",
        "()",
        "[1]",
        "[1,2]",
        "[1,2,3]",
        "1,2",
        "1,2,3,4",
        ",",
        "[,]",
        "[[1],[2]]",
        "[a, b]",
        "['a', 1]",
        "[nan, 1]",
    ),
    *(
        "[1e308, 1e308]",
        "[100000, 100000]",
        "[0, 0, 0]",
        "[-1, 5]",
        "[" + "1," * 2000 + "]",
        "[" + "9" * 5000 + "]",
        "{}",
    ),
    *("[true, false]", "[null]", "[*a]", "[&a 1, *a]", "[!!python/name:os.system '']", "[a: 1]", "['\ud800']", "[ ]"),
]
VALUES = [*NUMBERS, *TEXTS, *LISTS]
PYTHON_VALUES = [
    *(
        None,
        True,
        0,
        -1,
        2**31,
        2**63,
        2**64,
        10**400,
        -(10**400),
        1e308,
        float("nan"),
        float("inf"),
        -0.0,
        1e-320,
        0.5,
    ),
    *(
        "",
        "a\0",
        "\ud800",
        [],
        [1],
        [1, 2],
        [1.0, 2.0, 3.0],
        [[1]],
        [None],
        (1, 2),
        {},
        {"a": 1},
        b"a",
        [10**400],
        set(),
    ),
    *([1] * 100_000, "a" * 1_000_000, object, 1 + 2j, [float("nan")] * 3, ["a\nb"]),
]


def run(count: int, seed: int, folder: Path) -> Tally:
    """A trial: a config from a random source, random overrides, then random attributes."""
    tally = Tally()
    kinds = [_overrides, _python_overrides, _attributes, _mutated_file, _tree_file, _hostile_file]
    with warnings.catch_warnings(action="ignore"):
        for trial in range(count):
            kind = kinds[trial % len(kinds)]
            rng = random.Random(f"{seed}/{trial}")
            _try(tally, f"seed {seed}, trial {trial}, {kind.__name__}", lambda: kind(rng, folder))  # noqa: B023
    return tally


def _try(tally: Tally, name: str, load: Callable[[], Any]) -> None:
    before, started = _memory(), time.process_time()
    outcome, problem = "loaded", ""
    try:
        problem = _survives_its_dump(load())
    except UserError as error:
        outcome, problem = "refused", _bad_sentence(str(error))
    except Exception as error:  # whatever it is, it is what the trial looks for
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    seconds, grown = time.process_time() - started, _memory() - before
    if not problem and seconds > SECONDS:
        problem = f"{seconds:.1f} s"
    if not problem and grown > MEGABYTES:
        problem = f"{grown} MB more memory"
    if problem:
        tally.failed(f"{name}: {problem}")
    else:
        tally.passed(outcome)


def _memory() -> int:
    """The largest memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _bad_sentence(text: str) -> str:
    if "\n" in text or any(0xD800 <= ord(letter) <= 0xDFFF or ord(letter) < 32 for letter in text):
        return f"unprintable sentence {text!r:.200}"
    return "" if text.endswith((".", "?")) and 15 < len(text) < 1500 else f"odd sentence {text!r:.200}"


def _survives_its_dump(cfg: Any) -> str:
    text = cfg.dump()
    again = get_cfg()
    for setting in _settings_of(text):
        again.merge_from_list(setting)
    return "" if again == cfg else "another config after dump and load"


def _settings_of(text: str) -> list[list[Any]]:
    import yaml

    def walk(node: dict[str, Any], prefix: str) -> list[list[Any]]:
        found: list[list[Any]] = []
        for key, value in node.items():
            found += walk(value, f"{prefix}{key}.") if isinstance(value, dict) else [[f"{prefix}{key}", value]]
        return found

    return walk(yaml.safe_load(text), "")


def _key(rng: random.Random) -> str:
    key = rng.choice(list(KEYS))
    if rng.random() < 0.9:
        return key
    position = rng.randrange(len(key))
    tail = rng.choice(["", ".X", "..", "\0", "é", "\n", "x" * 3000, "." * 3000])
    return rng.choice(["", key[:position], key[:position] + key[position + 1 :], key.lower(), "." + key, key + tail])


def _right_or_wrong(rng: random.Random, key: str) -> str:
    default = KEYS.get(key)
    pool = {str: TEXTS, list: LISTS, int: NUMBERS, float: NUMBERS}.get(type(default), VALUES)
    return rng.choice(pool if rng.random() < 0.8 else VALUES)


def _overrides(rng: random.Random, _: Path) -> Any:
    pairs: list[Any] = []
    for _ in range(rng.randint(1, 4)):
        key = _key(rng)
        pairs += [key, _right_or_wrong(rng, key)]
    if rng.random() < 0.05:
        pairs.append(rng.choice(["SEED", "--x", "\0", 5]))
    return load_config(rng.choice(SHIPPED) if rng.random() < 0.2 else None, pairs)


def _python_overrides(rng: random.Random, _: Path) -> Any:
    key = _key(rng)
    return load_config(None, [key, rng.choice(PYTHON_VALUES)])


def _attributes(rng: random.Random, _: Path) -> Any:
    cfg = get_cfg()
    *path, name = rng.choice(list(KEYS)).split(".")
    node = cfg
    for part in path:
        node = node[part]
    value = rng.choice([*PYTHON_VALUES, *VALUES])
    node.__dict__.get("", None)
    dict.__setitem__(node, name if rng.random() < 0.9 else name + "X", value)
    cfg.validate()
    return cfg


def _load_text(text: str | bytes, folder: Path, overrides: list[str] | None = None) -> Any:
    path = folder / "config.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_config(path, overrides or [])


def _mutated_file(rng: random.Random, folder: Path) -> Any:
    """A shipped file, its bases written into it, with lines moved, doubled, cut, or with foreign bytes."""
    lines = load_config(rng.choice(SHIPPED)).dump().splitlines()
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        action = rng.randrange(7)
        if action == 0:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif action == 1:
            del lines[at]
        elif action == 2:
            lines[at] = " " * rng.randint(0, 9) + lines[at].strip()
        elif action == 3 and ":" in lines[at]:
            lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(VALUES)[:3000]
        elif action == 4:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        elif action == 5:
            lines[at] += rng.choice(
                [" # x", "\t", "\0", ": 1", " *a", " &a", " |", " >", "\r", "\u2028", "}", "]", "'", "`"]
            )
        else:
            lines[at] = rng.choice(["---", "...", "%YAML 1.1", "? a", "- b", "<<: *x", "<<: {a: 1}", "!!map {a: 1}"])
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        position = rng.randrange(len(data))
        data = data[:position] + rng.randbytes(rng.randint(1, 3)) + data[position + 1 :]
    return _load_text(data, folder)


def _tree_file(rng: random.Random, folder: Path) -> Any:
    """Sections in every spelling, dotted and nested, quoted, with aliases, tags and doubled keys."""
    texts = []
    for _ in range(rng.randint(1, 5)):
        key, value = _key(rng), rng.choice([*VALUES, "{}", "&a 1", "*a", "!!int 3", "!!str 3", "!!float x", "|\n  x"])
        if rng.random() < 0.5:
            value = value.replace("\n", " ")[:2000]
        parts = key.split(".")
        cut = rng.randint(0, len(parts) - 1)
        outer, inner = ".".join(parts[:cut]), ".".join(parts[cut:])
        quoted = f'"{inner}"' if rng.random() < 0.2 else inner
        texts.append(f"{outer}:\n  {quoted}: {value}" if outer else f"{quoted}: {value}")
    return _load_text("\n".join(texts) + rng.choice(["", "\n", "\r\n", "\n---\n", "\n...\nSEED: 1"]), folder)


def _hostile_file(rng: random.Random, folder: Path) -> Any:
    """Bombs, loops, foreign encodings and files that are none."""
    small = rng.randint(1, 12)
    deep = rng.choice([10, 25, 1000, 50_000])
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, small))
    nested = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, small)
    )
    chain = "k0: &k0 {x: 1}\n" + "".join(f"k{i}: &k{i} {{y: *k{i - 1}}}\n" for i in range(1, 20 * small))
    for name in ("loop.yml", "b.yml"):
        (folder / name).write_text("_BASE_: [b.yml, b.yml, b.yml]\n" if name == "loop.yml" else "SEED: 2\n")
    texts: list[str | bytes] = [
        *(laughs, nested, chain, "OPTIM: &x {LR: 1, y: *x}", "x: &x [*x]", "&x a: *x", "[" * deep, "{a: " * deep),
        *(
            "- " * deep,
            "? " * deep,
            "a:\n" * deep,
            "".join(f"{' ' * i}a:\n" for i in range(min(deep, 600))),
            "#" * deep,
        ),
        *(
            "\n" * deep,
            "SEED: 1\n" * deep,
            "".join(f"K{i}: 1\n" for i in range(deep)),
            b"\xff\xfe",
            b"\xfe\xff\x00",
            b"\x00",
        ),
        *(
            "SEED: 3".encode("utf-16"),
            "SEED: 3".encode("utf-16-le"),
            "ä: 1".encode("latin-1"),
            "\ufeffSEED: 3",
            "﻿﻿SEED: 3",
        ),
        *(
            "SEED: 3\r\nOPTIM:\r\n  LR: 1\r\n",
            "SEED:\t3",
            "\tSEED: 3",
            "",
            "---\n",
            "---\n---\n",
            "SEED: 3\n---\nSEED: 4\n",
        ),
        *("null", "3", "a", "[]", "{}", "!!python/object/apply:os.system ['true']", "!!set {SEED}", "!!omap [SEED: 1]"),
        *(
            "1: 2",
            "null: 1",
            "true: 1",
            "on: 1",
            "~: 1",
            '"": 1',
            "' ': 1",
            "<<: {SEED: 2}",
            "a: &a {LR: 1}\nOPTIM: {<<: *a}",
        ),
        *(
            "_BASE_: config.yml",
            "_BASE_: [config.yml]",
            "_BASE_: .",
            "_BASE_: /dev/zero",
            "_BASE_: /dev/stdin",
            "_BASE_:",
        ),
        *(
            "_BASE_: null",
            "_BASE_: []",
            "_BASE_: [[a]]",
            "_BASE_: {a: b}",
            "_BASE_: ''",
            "_BASE_: ~nobody/x",
            "_BASE_: 3",
        ),
        *(
            "_BASE_: b.yml",
            "_BASE_: [b.yml, b.yml]",
            "_BASE_: loop.yml",
            "_BASE_: '\\0'",
            '_BASE_: "a\\0b"',
            "_BASE_: " + "a" * 5000,
        ),
        *(
            "_BASE_: b.yml\n_BASE_: b.yml",
            "OPTIM: {_BASE_: b.yml}",
            "_BASE_: !!python/name:os b",
            "_BASE_: [" + "b.yml, " * 500 + "]",
        ),
        *(
            "A.B: 1\nA: {B: 2}",
            "OPTIM.LR: 1\nOPTIM: {LR: 2}",
            "OPTIM: {LR: 1}\nOPTIM: {EPOCHS: 2}",
            '"OPTIM.LR": 1\nOPTIM.LR: 2',
        ),
        *(
            'SEED: "\\UFFFFFFFF"',
            'SEED: "\\ud800"',
            'OUTPUT_DIR: "\\ud800"',
            'OUTPUT_DIR: "a\\0b"',
            "OUTPUT_DIR: 'a\n\n b'",
        ),
        *(
            "%YAML 9999999999.1\n---\nSEED: 1",
            "%YAML " + "9" * 5000 + ".1\n---\n",
            "%TAG ! x\n---\nSEED: !y 1",
            "SEED: !y 1",
            "SEED: ! 1",
        ),
        *(
            b"a: " + b"x" * 300_000,
            b"#" * 300_000,
            b" " * 300_000 + b"SEED: 1",
            b"'" * 200_000,
            b"\xf0\x9f\x99\x82: 1",
            b"SEED: \x85",
        ),
    ]
    return _load_text(rng.choice(texts), folder)
