"""What a report says in words."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_erf.effective import EffectiveReceptiveField
    from keras_erf.profiling import Profile

__all__ = ["by", "compared", "facts", "summary"]


def by(sizes: tuple[int, ...]) -> str:
    """`25 × 25`."""
    return " × ".join(map(str, sizes))


def summary(profile: Profile) -> str:
    """What the last layer sees and uses, and how the share of it went over depth."""
    first, last = profile.results[0], profile.results[-1]
    count = len(profile.results)
    told = (
        f"The unit of {last.layer} can see {by(last.receptive_field.size)} px and uses about "
        f"{_size(last)} px of it, {100 * last.ratio:.0f} %."
    )
    if count == 1:
        return told
    shares = [100 * one.ratio for one in profile.results]
    least = min(range(count), key=shares.__getitem__)
    went = f"Over its {count} layers the share goes from {shares[0]:.0f} % at {first.layer}"
    if least not in (0, count - 1):
        went += f", by its lowest of {shares[least]:.0f} % at {profile.results[least].layer},"
    return f"{told} {went} to {shares[-1]:.0f} %."


def compared(first: Profile, second: Profile, pairs: list[int | None]) -> str:
    """How the effective sizes of the second profile stand to those of the first."""
    both = [
        (one, second.results[place])
        for one, place in zip(first.results, pairs, strict=True)
        if place is not None
    ]
    if not both:
        return "No layer of one has a counterpart in the other."
    one, other = both[-1]
    told = f"At {one.layer} the effective size is {_size(one)} px in A and {_size(other)} px in B"
    changes = [100 * (theirs.size / mine.size - 1) for mine, theirs in both]
    if len(both) == 1:
        return f"{told} ({changes[0]:+.0f} %)."
    return (
        f"{told} ({changes[-1]:+.0f} %); over {len(both)} layers it changes by "
        f"{median(changes):+.0f} % in the median, {min(changes):+.0f} to {max(changes):+.0f} %."
    )


def facts(profile: Profile) -> list[str]:
    """Model, input, samples and definition of a profile, each in a few words."""
    last = profile.results[-1]
    found = [f"model {last.provenance['model']}"]
    found.append(f"input {by(last.receptive_field.input_size)} px")
    if last.expected is not None:
        found.append(f"expected of {last.expected} weights")
    else:
        counts = sorted({one.count for one in profile.results})
        many = str(counts[-1]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        kinds = "; ".join(dict.fromkeys(str(run["inputs"]) for run in last.provenance["runs"]))
        found.append(f"{many} {'sample' if counts[-1] == 1 else 'samples'}: {kinds}")
    names = dict.fromkeys(one.definition.name for one in profile.results)
    found.append(f"definition {', '.join(names)}")
    found.append(f"keras-erf {last.provenance['versions']['keras_erf']}")
    return found


def _size(result: EffectiveReceptiveField) -> str:
    error = result.size_error
    known = math.isfinite(error) and error > 0 and not result.constant
    return f"{result.size:.1f}" + (f" ± {error:.1f}" if known else "")
