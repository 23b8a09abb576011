"""What a report says in words."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["by", "change", "compared", "facts", "summary", "with_error"]


def by(sizes: tuple[int, ...]) -> str:
    """`25 × 25`."""
    return " × ".join(map(str, sizes))


def with_error(value: float | None, error: float | None, digits: int = 1) -> str:
    """`12.3 ± 0.2`, with more digits where the error is small; no error where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if not error or not math.isfinite(error):
        return f"{value:.{digits}f}"
    digits = min(max(digits, math.ceil(-math.log10(2 * error))), digits + 2)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def change(share: float) -> str:
    """A factor as what it adds: `+12 %`, `−4 %`."""
    percent = round(100 * (share - 1))
    return f"{percent:+d} %".replace("-", "−") if percent else "0 %"


def summary(profile: Profile, among: str = "") -> str:
    """What the last layer sees and uses, and how the share of it went over depth.

    Args:
        profile: Of at least one layer.
        among: What is told of where the layer is, of several profiles.
    """
    first, last = profile.results[0], profile.results[-1]
    count = len(profile.results)
    told = (
        f"The unit of {last.layer}{among} can see {by(last.receptive_field.size)} px; in effect "
        f"it uses {_size(last)} px, {100 * last.ratio:.0f} % of that."
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
    factors = [theirs.size / mine.size for mine, theirs in both]
    if len(both) == 1:
        return f"{told} ({change(factors[0])})."
    return (
        f"{told} ({change(factors[-1])}). Over {len(both)} layers it changes by "
        f"{change(min(factors))} to {change(max(factors))}, by {change(median(factors))} in the "
        "median."
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
    return with_error(result.size, None if result.constant else result.size_error)
