"""Before TensorFlow starts: two logical CPUs, quiet logs, no network."""

import ctypes
import gc
import ipaddress
import os
import pathlib
import socket
import sys

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as launched
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the tolerances are those of CPUs
ROOT = pathlib.Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # "tests.toy_gan:ToyGAN" from any folder

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def _refuse_the_network(address):
    host = address[0] if isinstance(address, tuple) else "localhost"  # AF_UNIX: a path
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise RuntimeError(f"tests may not reach the network: {address}")


def _guarded_connect(self, address):
    _refuse_the_network(address)
    return _connect(self, address)


def _guarded_connect_ex(self, address):
    _refuse_the_network(address)
    return _connect_ex(self, address)


def _guarded_lookup(host, *args, _lookup=socket.getaddrinfo, **kwargs):
    if host not in (None, "localhost", "127.0.0.1", "::1", b"localhost"):
        raise RuntimeError(f"tests may not reach the network: {host}")
    return _lookup(host, *args, **kwargs)


socket.socket.connect, socket.socket.connect_ex = _guarded_connect, _guarded_connect_ex
socket.getaddrinfo = _guarded_lookup


def pytest_configure(config):
    """Set up the devices, which must precede TensorFlow's first operation."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    one = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [one, one])
    # Its advice on retracing counts over all tests of a process.
    tf.get_logger().setLevel("ERROR")


def pytest_collection_finish(session):
    """Leave what imports made out of every later collection: a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


_kept = [2 << 30]  # bytes that the process holds and cannot give back


@pytest.fixture(autouse=True)
def _memory():
    """Give back what compilers and graphs of earlier tests have left in the heap."""
    yield
    if sys.platform == "linux" and _resident() > _kept[0] + (1 << 30):
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        _kept[0] = max(_kept[0], _resident())


def _resident():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def _seeds():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the data sets that are not part of the package."""
    folder = os.environ.get("TFGEN_TEST_DATA", str(ROOT.parent / "shared"))
    if not pathlib.Path(folder).is_dir():
        pytest.skip(f"no data folder {folder} (set TFGEN_TEST_DATA)")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def make_stream():
    """Function making a `Stream` of synthetic pictures; see `synthetic.stream`."""
    from tests.synthetic import stream

    return stream


@pytest.fixture
def stream(make_stream):
    """28x28 grey pictures with labels, uint8, 256 rows, batches of 16."""
    return make_stream()


@pytest.fixture
def two_replicas():
    """A strategy of two logical CPUs."""
    from tfgen.core.strategy import make_strategy

    return make_strategy("mirrored", 2)
