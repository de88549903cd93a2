#!/usr/bin/env bash
# Packages whose metadata ask for less or other than they need; everything else that they import is in the lock.
# tf-keras 2.21.0 (Keras 2): tensorflow, where the lock has its CPU build under another name.
# scbean 0.5.6: tensorflow 2.4.0 and keras 2.3.1, which have no build for Python 3.11, and what its other models need.
set -euo pipefail
python -m pip install --no-deps tf-keras==2.21.0 scbean==0.5.6
