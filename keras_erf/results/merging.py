"""Merges two results: whether they may be, their sums, and where they come from."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.results.framing import hull, reframed, whole_box

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["ONE_PER_RUN", "merged"]

# What stands for the weights of an ensemble, whose blocks hold runs and not samples.
ONE_PER_RUN = "one per run"


def merged(mine: EffectiveReceptiveField, theirs: EffectiveReceptiveField) -> dict[str, Any]:
    """The fields of two results together that differ from those of the first.

    Raises:
        InvalidInputError: The results are of different things, the same samples, or none.
    """
    provenance = _merged_provenance(
        mine.provenance,
        theirs.provenance,
        [
            ("field", mine.receptive_field, theirs.receptive_field),
            ("definition", mine.definition, theirs.definition),
            ("number of blocks", len(mine.block_counts), len(theirs.block_counts)),
        ],
    )
    whole = whole_box(mine.receptive_field.input_size)
    boxes = [whole if result.part is None else result.part for result in (mine, theirs)]
    part = hull(*boxes)
    sums, counts = [], []
    for result, box in zip((mine, theirs), boxes, strict=True):
        first = _first_block(result.provenance, result.block_sums, result.count)
        sums.append(np.roll(reframed(result.block_sums, box, part), first, axis=0))
        counts.append(np.roll(result.block_counts, first))
    return {
        "block_sums": sums[0] + sums[1],
        "block_counts": counts[0] + counts[1],
        "dead_count": mine.dead_count + theirs.dead_count,
        "provenance": provenance,
        "part": None if part == whole else part,
        "linear": mine.linear and theirs.linear,
    }


def _merged_provenance(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], same: Sequence[tuple[str, Any, Any]]
) -> dict[str, Any]:
    """Provenance of two results together, where all of `same` agrees."""
    if "expected" in mine or "expected" in theirs:
        raise InvalidInputError(
            argument="other",
            expected="must be a measured result, and so must this one: an expected field has no "
            "samples to add",
            received=f"{(theirs if 'expected' in theirs else mine)['expected']}",
        )
    for what, value, other in (
        *((key, mine[key], theirs[key]) for key in ("model", "weights", "training")),
        ("calibration", *(_calibration(provenance) for provenance in (mine, theirs))),
        *same,
    ):
        if value != other:
            raise InvalidInputError(
                argument="other",
                expected=f"must be a result of the same {what}",
                received=f"{other} and {value}",
            )
    runs = sorted([*mine["runs"], *theirs["runs"]], key=_rank)
    noise = [(run["inputs"], run["seed"]) for run in runs if _is_noise(run)]
    if len(set(noise)) < len(noise):
        raise InvalidInputError(
            argument="other",
            expected="must have samples of its own: probe with another `seed`",
            received=f"the same noise, seed={theirs['runs'][0]['seed']}",
        )
    merged = {**mine, "runs": runs}
    for words in ("notes", "unseen"):
        if words in mine or words in theirs:
            merged[words] = sorted({*mine.get(words, ()), *theirs.get(words, ())})
    return merged


def _calibration(provenance: Mapping[str, Any]) -> str:
    return "calibrate=True" if provenance.get("calibrated") else "calibrate=False"


def _first_block(provenance: Mapping[str, Any], block_sums: np.ndarray, count: int) -> int:
    """The block of a merged result that a result's first sample goes to.

    It depends on that result alone, so results merged in any order have the same
    blocks, and the same errors. Runs of a multiple of the blocks stay where they are, as
    parts of one long run would. Of others the samples left over go to blocks of their own:
    noise of one seed after another fills them in turn.
    """
    runs, blocks = provenance["runs"], len(block_sums)
    # Samples of a merged result, and runs of an ensemble, have their place.
    if len(runs) > 1 or provenance["weights"] == ONE_PER_RUN or count % blocks == 0:
        return 0
    if _is_noise(runs[0]):
        return int(runs[0]["seed"]) * count % blocks
    # Arrays and images have no number: a place by what was measured on them.
    return zlib.crc32(block_sums[block_sums != 0].tobytes()) % blocks


def _rank(run: Mapping[str, Any]) -> str:
    """Puts runs in one order, however they were merged."""
    return json.dumps(run, default=str, sort_keys=True)


def _is_noise(run: Mapping[str, Any]) -> bool:
    return str(run["inputs"]).endswith("noise")
