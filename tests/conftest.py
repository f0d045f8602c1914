"""Before TensorFlow starts: two logical CPUs, quiet logs, no network."""

import ipaddress
import os
import pathlib
import socket
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # figures here are those of CPUs
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # "tests.toy_gan:ToyGAN" is found from any folder
