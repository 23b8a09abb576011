"""Whether two results may be merged, and the provenance of the merged result."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError

__all__ = ["ONE_PER_RUN", "first_block", "merged_provenance"]

# What stands for the weights of an ensemble, whose blocks hold runs and not samples.
ONE_PER_RUN = "one per run"


def merged_provenance(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], same: Sequence[tuple[str, Any, Any]]
) -> dict[str, Any]:
    """Provenance of two results together.

    Args:
        mine: Provenance of the result that the other one is merged into.
        theirs: That of the other one.
        same: What else has to agree, with its name.

    Raises:
        InvalidInputError: The results are of different things, the same samples, or none.
    """
    if "expected" in mine or "expected" in theirs:
        raise InvalidInputError(
            "`other` must be a measured result, and so must this one: an expected field has no "
            f"samples to add. Received: {(theirs if 'expected' in theirs else mine)['expected']}"
        )
    for what, value, other in (
        *((key, mine[key], theirs[key]) for key in ("model", "weights", "training")),
        ("calibration", *(_calibration(provenance) for provenance in (mine, theirs))),
        *same,
    ):
        if value != other:
            raise InvalidInputError(
                f"`other` must be a result of the same {what}. Received: {other} and {value}"
            )
    runs = sorted([*mine["runs"], *theirs["runs"]], key=_rank)
    noise = [(run["inputs"], run["seed"]) for run in runs if _is_noise(run)]
    if len(set(noise)) < len(noise):
        raise InvalidInputError(
            "`other` must have samples of its own: probe with another `seed`. "
            f"Received: the same noise, seed={theirs['runs'][0]['seed']}"
        )
    merged = {**mine, "runs": runs}
    for words in ("notes", "unseen"):
        if words in mine or words in theirs:
            merged[words] = sorted({*mine.get(words, ()), *theirs.get(words, ())})
    return merged


def _calibration(provenance: Mapping[str, Any]) -> str:
    return "calibrate=True" if provenance.get("calibrated") else "calibrate=False"


def first_block(provenance: Mapping[str, Any], block_sums: np.ndarray, count: int) -> int:
    """The block of a merged result that a result's first sample goes to.

    It depends on that result alone, so results merged in any order have the same
    blocks, and the same errors. Runs of a multiple of the blocks stay where they are, as
    parts of one long run would. Of others the samples left over go to blocks of their own:
    noise of one seed after another fills them in turn.

    Args:
        provenance: Of the result.
        block_sums: Its sums, shape `(blocks, ...)`, over any part that it sees.
        count: Number of its samples.
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
