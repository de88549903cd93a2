#!/usr/bin/env bash
# Packages whose metadata ask for less or other than they need; everything else that they import is in the lock.
# mowgli 0.4.0: torch<2, anndata<0.9. uniport 1.3 and unioncom 0.4.0 state no limits at all.
set -euo pipefail
python -m pip install --no-deps mowgli==0.4.0 uniport==1.3 unioncom==0.4.0
