"""Configurations of old layers, turned into the classes and arguments of Keras 3.

Pure functions from dictionaries to dictionaries; no layer is made here.
"""
