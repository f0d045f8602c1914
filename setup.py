from setuptools import find_packages, setup

AUDIO = ["pretty_midi", "pyfluidsynth"]
VIDEO = ["imageio[ffmpeg]"]

setup(
    name="tfgen",
    version="0.1.0",
    description="Deep generative models in TensorFlow that train, resume and export",
    license="Apache-2.0",
    python_requires=">=3.11",
    # launch/ is installed as tfgen.launch: the top-level name stays free.
    packages=[*find_packages(include=["tfgen", "tfgen.*"]), "tfgen.launch"],
    package_dir={"tfgen": "tfgen", "tfgen.launch": "launch"},
    package_data={"tfgen.launch": ["recipes/*.flags"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorflow-probability>=0.25,<0.26",
        "tf-keras>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10,<4.10",
        "importlib_resources",
        "tensorboard>=2.20,<2.22",
        "absl-py",
        "numpy",
        "scipy",
        "scikit-learn",
        "mlxtend",
        "matplotlib",
        "pillow",
    ],
    extras_require={
        "audio": AUDIO,
        "video": VIDEO,
        "test": [*AUDIO, *VIDEO, "pytest", "pytest-xdist", "ruff"],
        "bench": ["torch"],
    },
    entry_points={
        "console_scripts": [
            f"tfgen-{name} = tfgen.launch.{name}:command"
            for name in (
                "train",
                "evaluate",
                "sample",
                "export",
                "benchmark",
                "doctor",
                "theory",
            )
        ]
    },
)
