"""One estimator a file: what is claimed of it, its formula and source, and the equation.

`relax/__init__.py` imports the functions, so that none of them shadows its module here.
"""
