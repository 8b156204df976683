"""Simulate the Verilog of a build and hold it to the fault model."""
