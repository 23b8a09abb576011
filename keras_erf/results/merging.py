"""Whether two results may be put together, and how the whole then was obtained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    for what, one, other in (
        *((key, mine[key], theirs[key]) for key in ("model", "weights", "training")),
        ("calibration", *(_calibration(one) for one in (mine, theirs))),
        *same,
    ):
        if one != other:
            raise InvalidInputError(
                f"`other` must be a result of the same {what}. Received: {other} beside {one}"
            )
    runs = [*mine["runs"], *theirs["runs"]]
    noise = [(run["inputs"], run["seed"]) for run in runs if run["inputs"].endswith("noise")]
    if len(set(noise)) < len(noise):
        raise InvalidInputError(
            "`other` must have samples of its own: probe with another `seed`. "
            f"Received: the same noise, seed={theirs['runs'][0]['seed']}"
        )
    return {**mine, "runs": runs}


def _calibration(provenance: Mapping[str, Any]) -> str:
    return "calibrate=True" if provenance.get("calibrated") else "calibrate=False"


def first_block(provenance: Mapping[str, Any], count: int, blocks: int) -> int:
    """The block that the other result's first sample goes to, as if all were of one probe.

    Args:
        provenance: Of the result that the other one is merged into.
        count: How many samples that one has.
        blocks: Number of blocks, to which samples are dealt in turn, and runs by their seeds.
    """
    return 0 if provenance["weights"] == ONE_PER_RUN else count % blocks
