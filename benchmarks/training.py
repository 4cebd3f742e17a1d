"""Training, encoding and decoding beside PyTorch and plain Keras: the same network, each in a process of its own."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import task
from benchmarks.measure import Row, alternately, furthest, is_missing
from benchmarks.peers import Peer

ROUNDS, CODING_ROUNDS = 8, 5
OURS = "aelib"
KERAS, FLOAT32, BFLOAT16 = "plain Keras, float32", "PyTorch, float32", "PyTorch, bfloat16"
GOALS = {KERAS: 1.4, FLOAT32: 1.0, BFLOAT16: 1.0}
PARTS = ("input", "forward", "forward and backward", "step")
ALIKE = 1e-4  # copies of one image by the same weights, of values in [0, 1]
EQUAL_LOSS = 0.05  # shuffled differently, the same network ends within some per cent


@dataclass
class Record:
    """What training leaves beside its lines of the table, as JSON keeps it.

    Parameters
    ----------
    described : dict
        Versions, threads and number of parameters of each trainer.
    losses : dict
        Loss on held-out images after the first epoch, which is not timed, and after each round, for each trainer.
    rates : dict
        Training images per second of each trainer, one for each round.
    anatomy : dict
        Seconds of the parts of a step; seconds and work of each layer; the machine's peaks.
    """

    described: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    anatomy: dict[str, Any] = field(default_factory=dict)


def rows(record: Record) -> Iterator[Row]:
    """Measure one line of the table after the other; fill the record."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        task.write(folder)
        peers = {OURS: stack.enter_context(Peer("ours", folder))}  # first: it writes the weights
        peers[KERAS] = stack.enter_context(Peer("plain_keras", folder))
        if not is_missing("torch"):
            for name, precision in ((FLOAT32, "float32"), (BFLOAT16, "bfloat16")):
                peers[name] = stack.enter_context(Peer("pytorch", folder, precision=precision))
        record.described = {name: peer.ask("describe") for name, peer in peers.items()}
        copies = {name: peer.ask("copies") for name, peer in peers.items()}
        apart = {name: furthest(copies[OURS], copies[name]) for name in peers}
        yield from trained(peers, record, apart)
        yield from anatomy(peers[OURS], record)
        yield from coded(peers)


def trained(peers: Mapping[str, Peer], record: Record, apart: Mapping[str, float]) -> Iterator[Row]:
    """Have all train the same number of epochs by turns; compare their times and their final losses."""
    for peer in peers.values():
        peer.ask("epoch", number=1)  # what it compiles, it compiles now
    record.losses = {name: [peer.ask("held_out_loss")] for name, peer in peers.items()}
    peaks: list[list[float]] = []
    done = 1

    def after(_: int) -> None:
        nonlocal done
        done += 1
        for name, peer in peers.items():
            record.losses[name].append(peer.ask("held_out_loss"))
        peaks.append([peers[OURS].ask("product", dtype=dtype) for dtype in ("float32", "bfloat16")])
        print(f"  training: round {done - 1} of {ROUNDS}", flush=True)

    turns = [lambda peer=peer: peer.ask("epoch", number=done + 1) for peer in peers.values()]
    figures = dict(zip(peers, alternately(turns, rounds=ROUNDS, on_round=after).T, strict=True))
    record.rates = {name: (task.N_IMAGES / times).tolist() for name, times in figures.items()}
    record.anatomy["peaks"] = peaks
    what = f"training, post III's network, batch {task.BATCH}"
    rates = tuple(record.rates[OURS])
    yield Row("training", what, f"images/s ({record.described[OURS]['precision']})", rates, "images/s")
    for name, goal in GOALS.items():
        if name not in figures:
            yield Row("training", what, name, (), "×", goal, missing="torch")
            continue
        ratios = tuple((figures[name] / figures[OURS]).tolist())
        yield Row("training", what, name, ratios, "×", goal, apart=apart[name], within=ALIKE)
    yield from _final(record)
    yield from _shares(record)


def _final(record: Record) -> Iterator[Row]:
    best = min(losses[-1] for name, losses in record.losses.items() if name != OURS)
    ratio = record.losses[OURS][-1] / best
    what = f"loss after {ROUNDS + 1} epochs of {task.N_IMAGES} images"
    yield Row("training", what, "over the best peer's", (ratio,), "", 1 + EQUAL_LOSS, at_most=True)


def _shares(record: Record) -> Iterator[Row]:
    """Hold training against the products of large matrices, measured in the same rounds."""
    from aelib.model import PRESETS
    from benchmarks.work import training_work

    work = training_work(PRESETS["post3"]) * np.array(record.rates[OURS])
    for k, dtype in enumerate(("float32", "bfloat16")):
        shares = tuple((100 * work / np.array(record.anatomy["peaks"])[:, k]).tolist())
        yield Row("training", "share of the peak of matrix products", dtype, shares, "%")


def anatomy(ours: Peer, record: Record) -> Iterator[Row]:
    """Say where the time of a step goes."""
    from aelib.model import PRESETS
    from benchmarks.work import layers_of

    rounds = [ours.ask("parts") for _ in range(CODING_ROUNDS)]
    parts = {name: [entry[name] for entry in rounds] for name in PARTS}
    layers = [ours.ask("layers") for _ in range(CODING_ROUNDS)]
    median = {name: float(np.median(times)) for name, times in parts.items()}
    record.anatomy["parts"] = median
    record.anatomy["layers"] = {
        layer.name: {
            "seconds": float(np.median([entry[layer.name] for entry in layers])),
            "products": task.BATCH * layer.training,
        }
        for layer in layers_of(PRESETS["post3"])
    }
    pieces = {
        "input: batches made and handed over": parts["input"],
        "layers, forward": parts["forward"],
        "layers, backward": np.subtract(parts["forward and backward"], parts["forward"]),
        "optimizer and the rest": np.subtract(parts["step"], parts["forward and backward"]),
    }
    for name, times in pieces.items():
        yield Row("training", "one step, by parts", name, tuple(1000 * t for t in times), "ms")


def coded(peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Have all encode and decode by turns, ours in either precision."""
    fast = peers[OURS].ask("describe")["precision"]
    pairs = {KERAS: "float32", FLOAT32: "float32", BFLOAT16: fast}
    for method, what in (("encode", "encoding, 2 048 images"), ("decode", "decoding, 2 048 points")):
        arguments = {
            (OURS, precision): {"precision": precision} for precision in dict.fromkeys(("float32", fast))
        }
        turns = arguments | {(name, ""): {} for name in peers if name != OURS}
        calls = [
            lambda who=who, words=words: peers[who[0]].ask(method, **words) for who, words in turns.items()
        ]
        for call in calls:
            call()
        figures = dict(zip(turns, alternately(calls, rounds=CODING_ROUNDS).T, strict=True))
        for _, precision in arguments:
            rates = tuple((task.N_IMAGES / figures[OURS, precision]).tolist())
            yield Row("codec", what, precision, rates, "/s")
        for name, precision in pairs.items():
            if name not in peers:
                yield Row("codec", what, name, (), "×", 1, missing="torch")
                continue
            ratios = tuple((figures[name, ""] / figures[OURS, precision]).tolist())
            beside = name if precision == "float32" else f"{name} (ours {precision})"
            yield Row("codec", what, beside, ratios, "×", 1)
