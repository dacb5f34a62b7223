"""One estimator per file: what is claimed of it, its formula and source, and the equation.

Only `relax/__init__.py` imports the functions, so that no function shadows its module.
"""
