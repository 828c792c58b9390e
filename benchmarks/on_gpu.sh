#!/usr/bin/env bash
# Everything that wants a GPU, in one call: the tests, the speed table with its profile, and bfloat16 against float32.
#
#   bash benchmarks/on_gpu.sh [FOLDER]        about nine minutes; FOLDER (benchmarks/results) gets what is to be kept
#
# A part that fails does not stop the others; the last lines say how each ended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-benchmarks/results}
scratch=$(mktemp -d)
mkdir -p "$out"
declare -A ended

timeout 150 python -m pytest -m gpu tests 2>&1 | tee "$out/gpu_tests.txt"
ended[tests]=$?
timeout 240 python benchmarks/training.py --device cuda --seconds 2 --out "$out/training.json" 2>&1 | tee "$out/training.txt"
ended[speed]=$?
for precision in float32 bfloat16; do
  timeout 100 python -m disentangle_bench run grids/precision_check.toml --out "$scratch/$precision" \
    --set "training.precision=\"$precision\"" --time-limit 90s >"$out/study_$precision.txt" 2>&1
  ended[$precision]=$?
done
python -m disentangle_bench leaderboard "$scratch/float32" "$scratch/bfloat16" --format csv >"$out/precision.csv"
ended[comparison]=$?
for part in "${!ended[@]}"; do echo "$part ended with ${ended[$part]}"; done
