"""The sentences of a report."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from keras_erf.wording import by, counted_samples, noted, size_with_error

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile

__all__ = ["change", "compared", "facts", "summary"]


def change(share: float) -> str:
    """A factor as a percentage change: `+12 %`, `−4 %`."""
    percent = round(100 * (share - 1))
    return f"{percent:+d} %".replace("-", "−") if percent else "0 %"


def summary(profile: Profile, among: str = "") -> str:
    """States what the last layer sees and uses, and how the share changes over depth."""
    first, last = profile.results[0], profile.results[-1]
    count = len(profile.results)
    sentence = (
        f"The unit of {last.layer}{among} can see {by(last.receptive_field.size)} px; in effect "
        f"it uses {size_with_error(last)} px, {100 * last.ratio:.0f} % of that."
    )
    if count == 1:
        return sentence
    shares = [100 * result.ratio for result in profile.results]
    least = min(range(count), key=shares.__getitem__)
    went = f"Over its {count} layers the share goes from {shares[0]:.0f} % at {first.layer}"
    if least not in (0, count - 1):
        went += f", by its lowest of {shares[least]:.0f} % at {profile.results[least].layer},"
    return f"{sentence} {went} to {shares[-1]:.0f} %."


def compared(first: Profile, second: Profile, pairs: list[int | None]) -> str:
    """Compares the effective sizes of the second profile with those of the first."""
    both = [
        (result, second.results[place])
        for result, place in zip(first.results, pairs, strict=True)
        if place is not None
    ]
    if not both:
        return "No layer of one has a counterpart in the other."
    result, _ = both[-1]
    mine, theirs = map(size_with_error, both[-1])
    sentence = f"At {result.layer} the effective size is {mine} px in A and {theirs} px in B"
    factors = [theirs.size / mine.size for mine, theirs in both]
    if len(both) == 1:
        return f"{sentence} ({change(factors[0])})."
    return (
        f"{sentence} ({change(factors[-1])}). Over {len(both)} layers it changes by "
        f"{change(min(factors))} to {change(max(factors))}, by {change(median(factors))} in the "
        "median."
    )


def facts(profile: Profile) -> list[str]:
    """Model, input, samples and definition of a profile, each in a few words."""
    last = profile.results[-1]
    facts = [f"model {last.provenance['model']}"]
    facts.append(f"input {by(last.receptive_field.input_size)} px")
    if last.expected is not None:
        facts.append(f"expected of {last.expected} weights")
    else:
        many = counted_samples(result.count for result in profile.results)
        kinds = "; ".join(dict.fromkeys(str(run["inputs"]) for run in last.provenance["runs"]))
        facts.append(f"{many}: {kinds}")
    names = dict.fromkeys(result.definition.name for result in profile.results)
    facts.append(f"definition {', '.join(names)}")
    facts += noted(profile.results)
    facts.append(f"keras-erf {last.provenance['versions']['keras_erf']}")
    return facts
