#!/usr/bin/env bash
# Packages whose metadata ask for what they do not need; everything else that they import is in the lock.
# scmidas 0.3.0: torch<2.11 and torchvision, which it does not import.
# multigrate 1.0.1: Python 3.12 and scvi-tools 1.4.3; it runs on 3.11 and 1.4.2.
# portal-sc 1.0.4: torch 1.8.1, scanpy 1.7.2, numba 0.49.1.
set -euo pipefail
python -m pip install --no-deps --ignore-requires-python scmidas==0.3.0 multigrate==1.0.1 portal-sc==1.0.4
