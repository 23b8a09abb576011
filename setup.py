"""What is built of keras-erf. Its name, description, links and tools are in pyproject.toml."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
# Read as text: importing the package here would need what it depends on.
VERSION = (ROOT / "keras_erf" / "_version.py").read_text(encoding="utf-8").split('"')[1]

setup(
    version=VERSION,
    # Listed one by one: a search would also find `models`, `tests` and the checkout's bridge.
    packages=[
        "keras_erf",
        "keras_erf.algebra",
        "keras_erf.analysis",
        "keras_erf.commands",
        "keras_erf.cone",
        "keras_erf.dependence",
        "keras_erf.experiments",
        "keras_erf.fields",
        "keras_erf.files",
        "keras_erf.graph",
        "keras_erf.inputs",
        "keras_erf.layers",
        "keras_erf.legacy",
        "keras_erf.legacy.building",
        "keras_erf.legacy.layers",
        "keras_erf.tensorflow_operations",
        "keras_erf.legacy.reading",
        "keras_erf.legacy.translation",
        "keras_erf.legacy.weights",
        "keras_erf.loading",
        "keras_erf.measuring",
        "keras_erf.models",
        "keras_erf.plotting",
        "keras_erf.reporting",
        "keras_erf.results",
        "keras_erf.rules",
        "keras_erf.second_moments",
        "keras_erf.signals",
        "keras_erf.studies",
        "keras_erf.theory",
        "keras_erf.training",
    ],
    package_dir={"keras_erf.models": "models"},
    package_data={
        "keras_erf": ["py.typed"],
        "keras_erf.reporting": ["assets/*"],
        "keras_erf.models": ["weights/*.weights.h5", "weights/*.md"],
    },
    # Data files come from `package_data` alone: MANIFEST.in also names the bridge, for the sdist.
    include_package_data=False,
    python_requires=">=3.10",
    install_requires=[
        "filelock>=3.13",
        "h5py>=3.11",
        "jinja2>=3.1",
        "joblib>=1.4",
        "keras>=3.12",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "pandas>=2.1",
        "pillow>=10.1",
        "rich>=14.3",
        "scipy>=1.11.4",
        "seaborn>=0.13.2",
        "tensorflow>=2.19",
        "tomli>=2.0; python_version < '3.11'",
        "typer>=0.19",
    ],
    extras_require={
        "browser": ["playwright>=1.45"],
        "dask": ["dask>=2024.1", "distributed>=2024.1"],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=1.0",
        ],
        "notebooks": [
            "ipykernel>=6.29",
            "nbclient>=0.10",
        ],
        "parquet": ["pyarrow>=15"],
        "ray": ["ray>=2.9"],
        "tensorboard": ["tensorboard>=2.19"],
        "test": [
            "build>=1.2",
            "distributed>=2024.1",
            "hypothesis>=6.100",
            "pyarrow>=15",
            "pytest>=8.2",
            "pytest-cov>=5.0",
            "pytest-mpl>=0.17",
            "pytest-xdist>=3.6",
            "pyyaml>=6.0",
            "ray>=2.9",
            "setuptools>=77",
            "tensorboard>=2.19",
            "tf_keras>=2.19",
        ],
        # The one place where the versions of these tools are pinned.
        "dev": [
            "build>=1.2",
            "codespell==2.4.3",
            "mypy==2.4.1",
            "nox==2026.10.20",
            "pre-commit==4.7.0",
            "ruff==0.17.6",
            "twine>=5.1",
        ],
    },
    entry_points={"console_scripts": ["keras-erf = keras_erf.cli:main"]},
)
