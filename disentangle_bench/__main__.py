"""`python -m disentangle_bench` is the command `bench`."""

from disentangle_bench.cli import main

main(prog_name="bench")
