"""Fault-aware co-design of quantised networks and FPGA PE arrays."""

__version__ = "0.1.0"
