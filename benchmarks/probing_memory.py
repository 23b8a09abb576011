"""The memory a probe takes at most, by the number of its samples, on ResNet50.

    python benchmarks/probing_memory.py

Each probe of noise runs in a process of its own; the peak is that of its resident memory. More
than 5 % between the fewest and the most samples of a layer makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

from recording import parse, record

COUNTS = (16, 64, 256, 1024)
# Layer and pixels of the image.
CASES = (
    ("conv2_block3_out", 224),
    ("conv3_block4_out", 224),
    ("conv3_block4_out", 1024),
    ("conv5_block3_out", 224),
)
LIMIT = 1.05


def probe(layer: str, pixels: int, samples: int) -> None:
    """Probes, and prints the peak of this process in MiB."""
    import keras

    import keras_erf

    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None)
    keras_erf.probe(model, layer, samples=samples, input_shape=None if pixels == 224 else pixels)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    """Prints a row per case; 1 if one grows."""
    options = parse(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    passed, cases = True, []
    print(f"{'layer':18} {'px':>5}  " + "  ".join(f"{count:>5} samples" for count in COUNTS))
    for layer, pixels in CASES:
        peaks = []
        for count in COUNTS:
            command = [sys.executable, __file__, layer, str(pixels), str(count)]
            environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
            process = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            peaks.append(float(process.stdout.split()[-1]))
        ratio = max(peaks) / min(peaks)
        passed &= ratio <= LIMIT
        peak = dict(zip(map(str, COUNTS), peaks, strict=True))
        cases.append({"layer": layer, "pixels": pixels, "peak_mib": peak, "ratio": ratio})
        row = "  ".join(f"{peak:>9.0f} MiB" for peak in peaks)
        print(f"{layer:18} {pixels:>5}  {row}  {ratio:.3f}", flush=True)
    return record(options, passed, cases=cases)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        probe(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
