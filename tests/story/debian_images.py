"""The real Debian images of ./demo, built from Debian packages once, behind the steps that do not need them yet: each takes
a minute on one processor, and what an emulated PC does takes one, too.
"""
import os
import signal
import subprocess
import threading

from company import Failure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MADE = os.path.join(ROOT, "out/guest")
# In the order in which the steps need them. Version 2 is version 1 upgraded, with more packages.
IMAGES = {"work1": ["--size", "1536"],
          "personal": ["--size", "1024", "--packages", "nano"],
          "work2": ["--size", "1536", "--upgrade", os.path.join(MADE, "work1.tar"), "--packages", "htop git"]}


class _Building:
    """One image at a time."""
    lock = threading.Lock()
    process = None
    is_over = False


def _path(name, end="raw"):
    return os.path.join(MADE, f"{name}.{end}")


def _build(name):
    """Builds an image unless it is there, whole or not at all."""
    with _Building.lock:
        if os.path.exists(_path(name)) or _Building.is_over:
            return
        os.makedirs(MADE, exist_ok=True)
        with open(_path(name, "log"), "wb") as log:
            _Building.process = subprocess.Popen([os.path.join(ROOT, "image/guest/build"), "--output", _path(name), "--root",
                                                  _path(name, "tar"), *IMAGES[name]], stdout=log, stderr=log,
                                                 stdin=subprocess.DEVNULL, start_new_session=True)
        _Building.process.wait()


def begin():
    """Builds all that are missing, behind what follows."""
    threading.Thread(target=lambda: [_build(name) for name in IMAGES], daemon=True).start()


def end():
    """Ends what is still being built."""
    _Building.is_over = True
    if _Building.process and _Building.process.poll() is None:
        os.killpg(_Building.process.pid, signal.SIGTERM)


def get(name, say):
    """The path of an image, once it is built."""
    if not os.path.exists(_path(name)):
        say(f"the Debian image {name} is being built; {_path(name, 'log')} says how it goes")
        _build(name)
    if not os.path.exists(_path(name)):
        raise Failure(f"building the image {name} failed; {_path(name, 'log')} says why")
    return _path(name)
