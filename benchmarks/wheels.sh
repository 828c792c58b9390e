#!/usr/bin/env bash
# The wheels that a machine with torch and without a network still lacks, into wheels/ (6 MiB): for CPython 3.12 on
# x86_64 Linux. Run it where packages can be had, and take the folder along with the checkout.
#
#   bash benchmarks/wheels.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p wheels
rm -f wheels/*.whl # one version of each

get() {
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest wheels \
    --python-version 3.12 --implementation cp --abi cp312 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "$@"
}

get pydantic annotated-types typing-inspection typing-extensions lightgbm tomli-w
# pydantic works with one version of its core only, which its metadata names.
core=$(unzip -p wheels/pydantic-*.whl '*/METADATA' | sed -n 's/^Requires-Dist: \(pydantic-core==[^ ;]*\).*/\1/p')
get "$core"

ls -sh wheels
cat <<'END'
On the machine with the GPU, from the checkout with wheels/ in it; a folder of its own for what each call brings back:
  bash benchmarks/on_gpu.sh measure MEASURED   # 590 s at most: the tests, the speed table
  bash benchmarks/on_gpu.sh study STUDIED      # 590 s at most: a study of 300,000 steps a run
END
