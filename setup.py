import re
from pathlib import Path

from setuptools import find_packages, setup

package = Path(__file__).with_name("aevae") / "__init__.py"
version = re.search('__version__ = "(.*)"', package.read_text()).group(1)

setup(
    name="aevae",
    version=version,
    description="Autoencoders and variational autoencoders in JAX, swept many at a time",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["aevae", "aevae.*"]),
    package_data={
        "aevae.figures.report": ["*.js", "*.html", "*.css"]
    },  # parts of a page
    install_requires=[
        "jax>=0.10.2",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "tensorflow-datasets>=4.9.10",
        "absl-py>=2.3",
        "numpy>=2.0",
        "importlib_resources>=6.0",  # tensorflow-datasets uses it and does not declare it
        "pillow>=11.0",  # decodes images, for tensorflow-datasets too
        "pyarrow>=18.0",  # reads tables
        "array_record>=0.8.1",  # the format of prepared data ...
        "google-crc32c>=1.5",  # ... and the checksums of the other one, and of event files
        "tensorboardX>=2.6.4",
        "tqdm>=4.66",
        "matplotlib>=3.10",
        "bokeh>=3.6",  # the page of experiments.report, which has it whole
        "scikit-learn>=1.6",
        "scipy>=1.14",  # solves what experiments.verify solves ...
        "threadpoolctl>=3.5",  # ... on one thread
    ],
    extras_require={
        "tf": [
            "tensorflow-cpu>=2.19",
            "h5py>=3.10",
            "scipy>=1.14",
        ],  # prepare stock sets
        "cluster": ["parsl>=2026.10"],  # workers of --workers
        "test": [
            "pytest>=8.0",
            "parsl>=2026.10",
            "pytest-xdist>=3.6",  # several tests at a time
            "hypothesis>=6.100",  # files and command lines of tests/test_fuzz.py
            "numpyro>=0.22",
            "prdc>=0.2",  # what density and coverage are compared with
            "scipy>=1.14",
            "tensorboard>=2.19",
            "pandas>=2.2",  # whose DataFrames figures take as tables
            "nbclient>=0.10",  # runs experiments/tutorial.ipynb ...
            "ipykernel>=6.29",  # ... in a kernel of this Python
            "playwright>=1.50",  # drives Chromium, which looks at the report; without one, tests skip
        ],
    },
)
