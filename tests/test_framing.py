"""Moving arrays from one part of the input to another, against the whole input."""

from __future__ import annotations

import numpy as np
import pytest

from keras_erf.results.framing import box_shape, clipped_box, hull, reframed, whole_box

SHAPE = (7, 9)


@pytest.mark.parametrize(
    "frame",
    [((0, 7), (0, 9)), ((3, 5), (1, 9)), ((2, 4), (3, 4)), ((0, 2), (0, 9)), ((6, 7), (8, 9))],
)  # fmt: skip
@pytest.mark.parametrize("leading", [(), (3,), (2, 1)])
def test_a_frame_shows_what_the_whole_would(frame, leading):
    box = ((2, 6), (3, 8))
    values = np.random.default_rng(0).random((*leading, *box_shape(box)))
    whole = np.zeros((*leading, *SHAPE))
    whole[..., 2:6, 3:8] = values
    (top, bottom), (left, right) = frame
    np.testing.assert_array_equal(reframed(values, box, frame), whole[..., top:bottom, left:right])


def test_kinds_are_kept_and_nothing_is_copied_without_need():
    mask = np.ones((2, 3), dtype=bool)
    assert reframed(mask, ((1, 3), (0, 3)), ((0, 4), (0, 4))).dtype == bool
    assert reframed(mask, ((1, 3), (0, 3)), ((1, 3), (0, 3))) is mask


def test_boxes():
    assert whole_box(SHAPE) == ((0, 7), (0, 9))
    assert box_shape(((2, 6), (-3, 8))) == (4, 11)
    assert clipped_box(((-2, 6), (3, 12)), SHAPE) == ((0, 6), (3, 9))
    assert hull(((2, 6), (0, 1)), ((1, 3), (5, 9))) == ((1, 6), (0, 9))
