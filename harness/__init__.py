"""Run the project as it is deployed: what tests, scripts, the fuzzer and the benchmarks share."""
