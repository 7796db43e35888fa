"""Kept for tools that still look for this file; everything is stated in setup.cfg."""

from setuptools import setup

setup()
