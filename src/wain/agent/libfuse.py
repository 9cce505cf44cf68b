"""Loads `mfusepy` on libfuse 3 where both are installed: the other one cannot say where a file has holes."""

import os
from ctypes.util import find_library

if libfuse3 := find_library("fuse3"):
    os.environ.setdefault("FUSE_LIBRARY_PATH", libfuse3)

import mfusepy

__all__ = ["mfusepy"]
